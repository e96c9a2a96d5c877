/* Answers queries of many gallery files, for tests of bct_gallery.h.

   reader TOP < FILES: the number of queries and the queries, then each file behind its size.
   Of a query: encoder, embedding, compatible, the number of labels and the labels, each behind its size. */

#define BCT_GALLERY_IMPLEMENTATION
#include "../../export/edge/c/bct_gallery.h"

#include <stdio.h>

typedef struct {
    char *encoder;
    float *embeddings[2];
    uint32_t dims[2];
    uint32_t label_count;
    char **labels;
} asked;

static int take(void *to, size_t bytes) { return fread(to, 1, bytes, stdin) == bytes; }

static uint32_t number(void) {
    uint8_t bytes[4];
    if (!take(bytes, 4)) exit(2);
    return bct_u32(bytes);
}

static char *text(void) {
    uint32_t bytes = number();
    char *found = calloc(bytes + 1, 1);
    if (!take(found, bytes)) exit(2);
    return found;
}

static void read_query(asked *query) {
    query->encoder = text();
    for (int each = 0; each < 2; each++) {
        query->dims[each] = number();
        query->embeddings[each] = malloc(query->dims[each] * sizeof(float));
        if (!take(query->embeddings[each], query->dims[each] * sizeof(float))) exit(2);
    }
    query->label_count = number();
    query->labels = malloc((query->label_count + 1) * sizeof *query->labels);
    for (uint32_t each = 0; each < query->label_count; each++) query->labels[each] = text();
}

static void free_query(asked *query) {
    free(query->encoder);
    free(query->embeddings[0]);
    free(query->embeddings[1]);
    for (uint32_t each = 0; each < query->label_count; each++) free(query->labels[each]);
    free(query->labels);
}

static void print_hex(const char *text, size_t bytes) {
    for (size_t each = 0; each < bytes; each++) printf("%02x", (unsigned char)text[each]);
    putchar('|');
}

static void answer(const bct_gallery *gallery, const asked *query, size_t top) {
    bct_query wanted = {query->encoder, query->embeddings[0], query->dims[0],
                        query->dims[1] ? query->embeddings[1] : NULL, query->dims[1],
                        (const char *const *)query->labels, query->label_count};
    bct_match *found = malloc((top + 1) * sizeof *found);
    size_t count;
    bct_status status = bct_gallery_search(gallery, &wanted, top, found, &count);
    printf("> %s\n", bct_words(status));
    for (size_t each = 0; each < count; each++) {
        print_hex(found[each].id, found[each].id_bytes);
        print_hex(found[each].label, found[each].label_bytes);
        print_hex(found[each].encoder, strlen(found[each].encoder));
        printf("%.9g|%.9g\n", found[each].score, found[each].rate);
    }
    free(found);
}

int main(int count, char **words) {
    size_t top = count > 1 ? (size_t)atoi(words[1]) : 5;
    uint32_t queries = number();
    asked *all = malloc((queries + 1) * sizeof *all);
    for (uint32_t each = 0; each < queries; each++) read_query(&all[each]);
    uint8_t bytes[4];
    while (take(bytes, 4)) {
        uint32_t size = bct_u32(bytes);
        uint8_t *file = malloc(size);
        if (!take(file, size)) exit(2);
        bct_gallery gallery;
        bct_status status = bct_gallery_open(&gallery, file, size);
        printf("%s\n", bct_words(status));
        for (uint32_t each = 0; status == BCT_OK && each < queries; each++) answer(&gallery, &all[each], top);
        printf("\n");
        if (status == BCT_OK) bct_gallery_close(&gallery);
        free(file);
    }
    for (uint32_t each = 0; each < queries; each++) free_query(&all[each]);
    free(all);
    return 0;
}
