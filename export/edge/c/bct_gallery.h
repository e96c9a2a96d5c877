/* Reads and searches a gallery file of bct_keras, on a phone or anything else that has a C compiler.

   One header, the C standard library alone, read-only. The format stands in
   bct_keras/gallery/FORMAT.md; this refuses what bct_keras refuses, and finds what it finds.

   In one file of yours:

       #define BCT_GALLERY_IMPLEMENTATION
       #include "bct_gallery.h"

   and in any other the second line alone. Map or read the file, and keep its bytes while it is open:

       bct_gallery gallery;
       bct_status status = bct_gallery_open(&gallery, bytes, size);
       if (status != BCT_OK) fail(bct_words(status));
       bct_query query = {fingerprint, embedding, dims, NULL, 0, NULL, 0};
       bct_match found[5];
       size_t count;
       status = bct_gallery_search(&gallery, &query, 5, found, &count);
       bct_gallery_close(&gallery);

   The fingerprint is the SHA-256 of the .tflite file, in hexadecimal. A search changes nothing in the
   gallery, so several threads may search at once. Compile with -O3 and for your processor. */

#ifndef BCT_GALLERY_H
#define BCT_GALLERY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    BCT_OK,
    BCT_NO_GALLERY,      /* not a gallery, or its first 64 bytes are damaged */
    BCT_OTHER_VERSION,   /* written by a later program */
    BCT_DAMAGED,         /* bring back a copy of this file */
    BCT_NOT_ADMITTED,    /* no report says that this encoder's queries fit all entries */
    BCT_OTHER_DIMS,      /* the query has other dimensions than the entries */
    BCT_NOT_CALIBRATED,  /* two embeddings are needed, and no report says how their scores compare */
    BCT_BAD_QUERY,       /* not finite, or all zeros */
    BCT_NO_MEMORY
} bct_status;

typedef struct bct_contents bct_contents;

typedef struct {
    uint64_t entries;
    bct_contents *contents;
} bct_gallery;

typedef struct {
    const char *encoder;     /* the fingerprint of the encoder that made it, in hexadecimal */
    const float *embedding;  /* of any length but 0 */
    size_t dims;
    const float *compatible; /* for entries of older encoders; NULL where it is the same */
    size_t compatible_dims;
    const char *const *labels; /* entries with one of these are searched, and no others */
    size_t label_count;        /* 0: all entries are */
} bct_query;

/* Texts lie in the bytes of the gallery and do not end with a zero. */
typedef struct {
    const char *id;
    size_t id_bytes;
    const char *label;
    size_t label_bytes;
    const char *encoder;  /* of the entry, which ends with a zero */
    double score;         /* cosine */
    double rate;          /* share of pairs of two identities that stand as high; -1: not known */
} bct_match;

/* Takes in a whole file and holds each byte against its checksum. */
bct_status bct_gallery_open(bct_gallery *gallery, const void *bytes, size_t size);

/* Finds the `top` entries most like a query, the best first; `found` has room for so many. */
bct_status bct_gallery_search(const bct_gallery *gallery, const bct_query *query, size_t top,
                              bct_match *found, size_t *count);

/* Gives back what `bct_gallery_open` took. */
void bct_gallery_close(bct_gallery *gallery);

/* Returns what a status says, for people. */
const char *bct_words(bct_status status);

#ifdef __cplusplus
}
#endif
#endif /* BCT_GALLERY_H */

#ifdef BCT_GALLERY_IMPLEMENTATION

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BCT_HEAD = 64, BCT_FIRST_BLOCK = 128, BCT_DEEPEST = 64, BCT_GRID = 801, BCT_SPARE = 128 };
enum { BCT_BY_NONE, BCT_BY_EMBEDDING, BCT_BY_COMPATIBLE };
enum { BCT_ID, BCT_LABEL };
#define BCT_NONE (-1)

/* ---- arrays that grow, and numbers of the file, which are little-endian ---- */

typedef struct {
    void *items;
    size_t count, room;
} bct_list;

static void *bct_add(bct_list *list, size_t many, size_t item_bytes) {
    if (!list->items || list->count + many > list->room) {
        size_t room = list->room * 2 > list->count + many ? list->room * 2 : list->count + many;
        if (room < 16) room = 16;
        void *items = realloc(list->items, room * item_bytes);
        if (!items) return NULL;
        list->items = items;
        list->room = room;
    }
    list->count += many;
    return (char *)list->items + (list->count - many) * item_bytes;
}

static uint32_t bct_u16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static uint32_t bct_u32(const uint8_t *at) { return bct_u16(at) | bct_u16(at + 2) << 16; }
static uint64_t bct_u64(const uint8_t *at) {
    return (uint64_t)bct_u32(at) | (uint64_t)bct_u32(at + 4) << 32;
}
static float bct_f32(const uint8_t *at) {
    uint32_t bits = bct_u32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* CRC-32 as zlib has it, eight bytes at a time. */
static uint32_t bct_crc_table[8][256];

static void bct_make_crc_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xEDB88320u ^ rest >> 1 : rest >> 1;
        bct_crc_table[0][byte] = rest;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (int ahead = 1; ahead < 8; ahead++) {
            uint32_t before = bct_crc_table[ahead - 1][byte];
            bct_crc_table[ahead][byte] = before >> 8 ^ bct_crc_table[0][before & 255];
        }
    }
}

static uint32_t bct_crc(const uint8_t *at, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = crc ^ bct_u32(at), high = bct_u32(at + 4);
        crc = bct_crc_table[7][low & 255] ^ bct_crc_table[6][low >> 8 & 255] ^
              bct_crc_table[5][low >> 16 & 255] ^ bct_crc_table[4][low >> 24] ^
              bct_crc_table[3][high & 255] ^ bct_crc_table[2][high >> 8 & 255] ^
              bct_crc_table[1][high >> 16 & 255] ^ bct_crc_table[0][high >> 24];
    }
    for (; size; size--, at++) crc = crc >> 8 ^ bct_crc_table[0][(crc ^ *at) & 255];
    return ~crc;
}

static int bct_head_holds(const uint8_t *head) {
    return bct_crc(head, BCT_HEAD - 4) == bct_u32(head + BCT_HEAD - 4);
}

/* ---- text: UTF-8, and as much of JSON as facts need ---- */

static int bct_is_utf8(const uint8_t *at, size_t size) {
    const uint8_t *end = at + size;
    while (at < end) {
        uint32_t first = *at++, code;
        int more;
        if (first < 0x80) continue;
        if (first >= 0xC2 && first <= 0xDF) more = 1, code = first & 31;
        else if (first >= 0xE0 && first <= 0xEF) more = 2, code = first & 15;
        else if (first >= 0xF0 && first <= 0xF4) more = 3, code = first & 7;
        else return 0;
        if (end - at < more) return 0;
        for (int each = 0; each < more; each++) {
            if ((*at & 0xC0) != 0x80) return 0;
            code = code << 6 | (*at++ & 63);
        }
        if (more == 2 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) return 0;
        if (more == 3 && (code < 0x10000 || code > 0x10FFFF)) return 0;
    }
    return 1;
}

typedef struct {
    const char *at, *end;
} bct_span;

typedef struct {
    char *text; /* with a zero behind it, which does not count */
    size_t bytes;
} bct_text;

static void bct_skip_space(bct_span *json) {
    while (json->at < json->end && strchr(" \t\n\r", *json->at) && *json->at) json->at++;
}

static int bct_next_is(bct_span *json, char wanted) {
    bct_skip_space(json);
    if (json->at == json->end || *json->at != wanted) return 0;
    json->at++;
    return 1;
}

static int bct_digits(bct_span *json) {
    const char *start = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') json->at++;
    return json->at > start;
}

/* Takes a number; `whole` tells whether it has neither a fraction nor an exponent. */
static int bct_number(bct_span *json, double *value, int *whole) {
    double mantissa = 0, sign = 1;
    int exponent = 0, shift = 0, negative = 0;
    if (json->at < json->end && *json->at == '-') sign = -1, json->at++;
    const char *start = json->at;
    if (!bct_digits(json) || (*start == '0' && json->at - start > 1)) return 0;
    for (const char *digit = start; digit < json->at; digit++) mantissa = mantissa * 10 + (*digit - '0');
    *whole = 1;
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        start = json->at;
        if (!bct_digits(json)) return 0;
        for (const char *digit = start; digit < json->at && digit - start < 25; digit++, shift--)
            mantissa = mantissa * 10 + (*digit - '0');
        *whole = 0;
    }
    if (json->at < json->end && (*json->at | 32) == 'e') {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) negative = *json->at++ == '-';
        start = json->at;
        if (!bct_digits(json)) return 0;
        for (const char *digit = start; digit < json->at && exponent < 10000; digit++)
            exponent = exponent * 10 + (*digit - '0');
        *whole = 0;
    }
    *value = sign * mantissa * pow(10, shift + (negative ? -exponent : exponent));
    return 1;
}

static int bct_hex4(bct_span *json, uint32_t *code) {
    if (json->end - json->at < 4) return 0;
    *code = 0;
    for (int each = 0; each < 4; each++) {
        char digit = *json->at++;
        if (digit >= '0' && digit <= '9') *code = *code << 4 | (uint32_t)(digit - '0');
        else if ((digit | 32) >= 'a' && (digit | 32) <= 'f') *code = *code << 4 | (uint32_t)((digit | 32) - 'a' + 10);
        else return 0;
    }
    return 1;
}

static char *bct_write_utf8(char *to, uint32_t code) {
    if (code < 0x80) return *to = (char)code, to + 1;
    if (code < 0x800) *to++ = (char)(0xC0 | code >> 6);
    else {
        if (code < 0x10000) *to++ = (char)(0xE0 | code >> 12);
        else *to++ = (char)(0xF0 | code >> 18), *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
    }
    *to++ = (char)(0x80 | (code & 63));
    return to;
}

/* Takes the escape behind a backslash. */
static char *bct_escape(bct_span *json, char *to) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (json->at == json->end) return NULL;
    char name = *json->at++;
    const char *known = name ? strchr(names, name) : NULL;
    if (known) return *to = meant[known - names], to + 1;
    uint32_t code, second;
    if (name != 'u' || !bct_hex4(json, &code)) return NULL;
    if (code >= 0xD800 && code <= 0xDBFF && json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u') {
        bct_span ahead = {json->at + 2, json->end};
        if (!bct_hex4(&ahead, &second)) return NULL;
        if (second >= 0xDC00 && second <= 0xDFFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
            json->at = ahead.at;
        }
    }
    return bct_write_utf8(to, code);
}

/* Takes a string; where `text` is given its content is kept, and has to be freed. */
static int bct_string(bct_span *json, bct_text *text) {
    if (!bct_next_is(json, '"')) return 0;
    char *start = (char *)malloc((size_t)(json->end - json->at) + 5), *to = start;
    if (!start) return 0;
    while (json->at < json->end && *json->at != '"' && (uint8_t)*json->at >= 0x20) {
        if (*json->at != '\\') *to++ = *json->at++;
        else if (json->at++, !(to = bct_escape(json, to))) return free(start), 0;
    }
    if (json->at == json->end || *json->at != '"') return free(start), 0;
    json->at++;
    *to = 0;
    if (!text) return free(start), 1;
    text->text = start;
    text->bytes = (size_t)(to - start);
    return 1;
}

static int bct_members(bct_span *json, const char *const *names, bct_span *values, int strict, int depth, size_t *count);

static int bct_value(bct_span *json, int depth) {
    static const char *const words[] = {"true", "false", "null"};
    double number;
    int whole;
    bct_skip_space(json);
    if (json->at == json->end || depth > BCT_DEEPEST) return 0;
    if (*json->at == '"') return bct_string(json, NULL);
    if (*json->at == '{') return bct_members(json, NULL, NULL, 0, depth + 1, NULL);
    if (*json->at == '[') {
        json->at++;
        if (bct_next_is(json, ']')) return 1;
        do {
            if (!bct_value(json, depth + 1)) return 0;
        } while (bct_next_is(json, ','));
        return bct_next_is(json, ']');
    }
    for (int word = 0; word < 3; word++) {
        size_t bytes = strlen(words[word]);
        if ((size_t)(json->end - json->at) >= bytes && !memcmp(json->at, words[word], bytes))
            return json->at += bytes, 1;
    }
    return bct_number(json, &number, &whole);
}

/* Takes an object; finds where the values of these names are, of equal names the last. */
static int bct_members(bct_span *json, const char *const *names, bct_span *values, int strict, int depth, size_t *count) {
    if (!bct_next_is(json, '{')) return 0;
    if (count) *count = 0;
    if (bct_next_is(json, '}')) return 1;
    do {
        bct_text name;
        size_t place = 0;
        if (!bct_string(json, &name)) return 0;
        while (names && names[place] && (strlen(names[place]) != name.bytes || memcmp(names[place], name.text, name.bytes)))
            place++;
        free(name.text);
        int known = names && names[place];
        if ((strict && !known) || !bct_next_is(json, ':')) return 0;
        bct_skip_space(json);
        bct_span value = {json->at, json->at};
        if (!bct_value(json, depth)) return 0;
        value.end = json->at;
        if (known) values[place] = value;
        if (count) ++*count;
    } while (bct_next_is(json, ','));
    return bct_next_is(json, '}');
}

/* ---- what cosines stand for (bct_keras/metrics/calibration.py and odds.py) ---- */

typedef struct {
    double *cosines, *logs; /* [points] rising, and the logarithms of falling rates */
    size_t points;
} bct_curve;

typedef struct {
    bct_curve genuine, impostors;
} bct_odds;

static int bct_numbers(bct_span json, double **numbers, size_t *count) {
    bct_list list = {NULL, 0, 0};
    int whole, good = json.at && bct_next_is(&json, '[');
    if (good && !bct_next_is(&json, ']')) {
        do {
            double *number = (double *)bct_add(&list, 1, sizeof *number);
            bct_skip_space(&json);
            good = number && bct_number(&json, number, &whole);
        } while (good && bct_next_is(&json, ','));
        good = good && bct_next_is(&json, ']');
    }
    *numbers = (double *)list.items;
    *count = list.count;
    return good;
}

/* Reads `cosines` and `rates` of an object; refuses what is no calibration. */
static int bct_read_curve(bct_span cosines, bct_span rates, bct_curve *curve) {
    size_t points;
    if (!bct_numbers(cosines, &curve->cosines, &curve->points)) return 0;
    if (!bct_numbers(rates, &curve->logs, &points) || points != curve->points || points < 2) return 0;
    if (!(curve->logs[points - 1] > 0 && curve->logs[0] <= 1)) return 0;
    for (size_t each = 1; each < points; each++) {
        if (!(curve->cosines[each] - curve->cosines[each - 1] > 0)) return 0;
        if (!(curve->logs[each] - curve->logs[each - 1] < 0)) return 0;
    }
    for (size_t each = 0; each < points; each++) curve->logs[each] = log(curve->logs[each]);
    return 1;
}

static double bct_interpolated(double x, const double *at, const double *values, size_t count) {
    if (x >= at[count - 1]) return values[count - 1];
    if (x <= at[0]) return values[0];
    size_t low = 0, high = count - 1;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (at[middle] <= x) low = middle;
        else high = middle;
    }
    double slope = (values[high] - values[low]) / (at[high] - at[low]);
    return values[low] + slope * (x - at[low]);
}

static double bct_log_rate(const bct_curve *curve, double cosine) {
    size_t last = curve->points - 1, start = 0;
    for (size_t each = 0; each <= last; each++)
        if (curve->logs[each] >= curve->logs[last] + log(10) - 1e-9) start = each;
    double fall = (curve->logs[start] - curve->logs[last]) / (curve->cosines[last] - curve->cosines[start]);
    double beyond = cosine - curve->cosines[last];
    double within = bct_interpolated(cosine, curve->cosines, curve->logs, curve->points);
    return within - (beyond > 0 ? beyond * fall : 0);
}

static double bct_grid(int place) { return -1 + place * (2.0 / (BCT_GRID - 1)); }

static void bct_on_grid(const bct_odds *odds, double *grid, double *found) {
    double highest = -INFINITY;
    for (int place = 0; place < BCT_GRID; place++) {
        grid[place] = bct_grid(place);
        double value = bct_log_rate(&odds->genuine, grid[place]) - bct_log_rate(&odds->impostors, grid[place]);
        if (value - 0.1 * grid[place] > highest) highest = value - 0.1 * grid[place];
        found[place] = highest + 0.1 * grid[place];
    }
}

/* ---- what a file holds ---- */

typedef struct {
    bct_text fingerprint, name, base, adapter;
    double dims;
    uint64_t entries; /* that are there and that it made */
} bct_encoder;

typedef struct {
    bct_text query, gallery;
    int by, calibrated;
    bct_odds odds;
} bct_declared;

typedef struct {
    uint64_t first;
    uint32_t rows;
    size_t dims;
    const uint8_t *scale, *encoders, *high, *low;
} bct_rows;

typedef struct {
    uint64_t first;
    uint32_t rows;
    const uint8_t *ends, *ids, *labels;
} bct_names;

struct bct_contents {
    bct_list encoders, declared, parts, names;
    bct_list row_of, original_of; /* [all numbers] int64_t */
    bct_list entry_of;            /* [rows] uint64_t */
};

#define BCT_AT(list, kind, place) (((kind *)(list).items)[place])

static void bct_free_odds(bct_odds *odds) {
    free(odds->genuine.cosines);
    free(odds->genuine.logs);
    free(odds->impostors.cosines);
    free(odds->impostors.logs);
}

void bct_gallery_close(bct_gallery *gallery) {
    bct_contents *held = gallery->contents;
    if (!held) return;
    for (size_t each = 0; each < held->encoders.count; each++) {
        bct_encoder *encoder = &BCT_AT(held->encoders, bct_encoder, each);
        free(encoder->fingerprint.text);
        free(encoder->name.text);
        free(encoder->base.text);
        free(encoder->adapter.text);
    }
    for (size_t each = 0; each < held->declared.count; each++) {
        bct_declared *declared = &BCT_AT(held->declared, bct_declared, each);
        free(declared->query.text);
        free(declared->gallery.text);
        bct_free_odds(&declared->odds);
    }
    bct_list *lists[] = {&held->encoders, &held->declared, &held->parts, &held->names,
                         &held->row_of, &held->original_of, &held->entry_of};
    for (size_t each = 0; each < sizeof lists / sizeof *lists; each++) free(lists[each]->items);
    free(held);
    gallery->contents = NULL;
}

static int bct_same(bct_text one, bct_text other) {
    return one.bytes == other.bytes && !memcmp(one.text, other.text, one.bytes);
}

static int bct_is(bct_text text, const char *wanted) {
    return strlen(wanted) == text.bytes && !memcmp(text.text, wanted, text.bytes);
}

/* Reads the string at a place of the file; where there is none it is `missing`, if that is given. */
static int bct_read_text(bct_span value, const char *missing, bct_text *text) {
    char quoted[32];
    if (!value.at) {
        if (!missing) return 0;
        quoted[0] = '"';
        strcpy(quoted + 1, missing);
        strcat(quoted, "\"");
        value.at = quoted;
        value.end = quoted + strlen(quoted);
    }
    return bct_string(&value, text);
}

/* Finds the object in a fact's payload. */
static int bct_fact(const uint8_t *payload, size_t size, const char *const *names, bct_span *values) {
    while (size && !payload[size - 1]) size--;
    bct_span json = {(const char *)payload, (const char *)payload + size};
    if (!bct_is_utf8(payload, size) || !bct_members(&json, names, values, 1, 1, NULL)) return 0;
    bct_skip_space(&json);
    return json.at == json.end;
}

static bct_status bct_read_encoder(bct_contents *held, const uint8_t *payload, size_t size) {
    static const char *const names[] = {"fingerprint", "dims", "name", "base", "adapter", NULL};
    bct_span values[5] = {{NULL, NULL}};
    if (!bct_fact(payload, size, names, values) || !values[1].at) return BCT_DAMAGED;
    bct_encoder *new_one = (bct_encoder *)bct_add(&held->encoders, 1, sizeof *new_one);
    if (!new_one) return BCT_NO_MEMORY;
    memset(new_one, 0, sizeof *new_one);
    int whole = 0;
    if (!bct_number(&values[1], &new_one->dims, &whole) || !whole || new_one->dims < 1) return BCT_DAMAGED;
    if (!bct_read_text(values[0], NULL, &new_one->fingerprint)) return BCT_DAMAGED;
    if (!bct_read_text(values[2], NULL, &new_one->name)) return BCT_DAMAGED;
    if (!bct_read_text(values[3], "", &new_one->base)) return BCT_DAMAGED;
    if (!bct_read_text(values[4], "", &new_one->adapter)) return BCT_DAMAGED;
    for (size_t each = 0; each + 1 < held->encoders.count; each++) {
        bct_encoder *known = &BCT_AT(held->encoders, bct_encoder, each);
        if (known->dims == new_one->dims && bct_same(known->fingerprint, new_one->fingerprint) &&
            bct_same(known->name, new_one->name) && bct_same(known->base, new_one->base) &&
            bct_same(known->adapter, new_one->adapter))
            return BCT_DAMAGED;
    }
    return BCT_OK;
}

static int bct_read_odds(bct_span json, bct_declared *declared) {
    static const char *const names[] = {"cosines", "rates", "genuine", NULL};
    bct_span values[3] = {{NULL, NULL}}, inner[3] = {{NULL, NULL}};
    size_t count;
    if (!json.at) return 1;
    if (!bct_members(&json, names, values, 0, 1, &count)) return 0;
    if (!count) return 1;
    declared->calibrated = 1;
    if (!values[2].at || !bct_members(&values[2], names, inner, 0, 1, NULL)) return 0;
    return bct_read_curve(inner[0], inner[1], &declared->odds.genuine) &&
           bct_read_curve(values[0], values[1], &declared->odds.impostors);
}

static bct_status bct_read_compatibility(bct_contents *held, const uint8_t *payload, size_t size) {
    static const char *const names[] = {"query", "gallery", "report", "finding", "by", "calibration", NULL};
    bct_span values[6] = {{NULL, NULL}};
    bct_text by;
    if (!bct_fact(payload, size, names, values)) return BCT_DAMAGED;
    bct_declared *declared = (bct_declared *)bct_add(&held->declared, 1, sizeof *declared);
    if (!declared) return BCT_NO_MEMORY;
    memset(declared, 0, sizeof *declared);
    if (!bct_read_text(values[0], NULL, &declared->query)) return BCT_DAMAGED;
    if (!bct_read_text(values[1], NULL, &declared->gallery)) return BCT_DAMAGED;
    for (int each = 2; each < 4; each++)
        if (!values[each].at || !bct_string(&values[each], NULL)) return BCT_DAMAGED;
    if (!bct_read_text(values[4], "embedding_compatible", &by)) return BCT_DAMAGED;
    if (bct_is(by, "embedding")) declared->by = BCT_BY_EMBEDDING;
    else if (bct_is(by, "embedding_compatible")) declared->by = BCT_BY_COMPATIBLE;
    free(by.text);
    if (!declared->by || !bct_read_odds(values[5], declared)) return BCT_DAMAGED;
    return BCT_OK;
}

/* Takes the rows of a block, behind 8 bytes a row; returns what follows them, or NULL. */
static const uint8_t *bct_read_rows(bct_contents *held, const uint8_t *at, const uint8_t *end, uint32_t rows) {
    bct_rows part;
    part.first = held->entry_of.count;
    part.rows = rows;
    part.dims = 0;
    if ((uint64_t)(end - at) < (uint64_t)rows * 6) return NULL;
    part.scale = at;
    part.encoders = at + (size_t)rows * 4;
    at += (size_t)rows * 6;
    double dims = 0;
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t maker = bct_u16(part.encoders + 2 * (size_t)row);
        if (maker >= held->encoders.count) return NULL;
        double of_row = BCT_AT(held->encoders, bct_encoder, maker).dims;
        if (row && of_row != dims) return NULL;
        dims = of_row;
        float scale = bct_f32(part.scale + 4 * (size_t)row);
        if (!(scale > 0 && scale < 1.0f / 16384)) return NULL;
    }
    if (rows) {
        if (dims * rows > (double)(end - at) / 2) return NULL;
        part.dims = (size_t)dims;
    }
    part.high = at;
    part.low = at + (size_t)rows * part.dims;
    bct_rows *kept = (bct_rows *)bct_add(&held->parts, 1, sizeof *kept);
    if (!kept || !bct_add(&held->entry_of, rows, sizeof(uint64_t))) return NULL;
    *kept = part;
    return part.low + (size_t)rows * part.dims;
}

static bct_status bct_read_entries(bct_contents *held, const uint8_t *at, const uint8_t *end, uint32_t rows) {
    bct_names names;
    names.first = held->row_of.count;
    names.rows = rows;
    names.ends = at;
    uint64_t row = held->entry_of.count;
    if (!rows || (uint64_t)(end - at) < (uint64_t)rows * 8) return BCT_DAMAGED;
    at = bct_read_rows(held, at + (size_t)rows * 8, end, rows);
    if (!at) return BCT_DAMAGED;
    uint32_t sizes[2];
    for (int column = 0; column < 2; column++) {
        const uint8_t *ends = names.ends + (size_t)column * rows * 4;
        for (uint32_t each = 1; each < rows; each++)
            if (bct_u32(ends + 4 * (size_t)each) < bct_u32(ends + 4 * (size_t)(each - 1))) return BCT_DAMAGED;
        sizes[column] = bct_u32(ends + 4 * (size_t)(rows - 1));
    }
    if ((uint64_t)(end - at) < (uint64_t)sizes[0] + sizes[1]) return BCT_DAMAGED;
    names.ids = at;
    names.labels = at + sizes[0];
    bct_names *kept = (bct_names *)bct_add(&held->names, 1, sizeof *kept);
    int64_t *live = (int64_t *)bct_add(&held->row_of, rows, sizeof *live);
    int64_t *original = (int64_t *)bct_add(&held->original_of, rows, sizeof *original);
    if (!kept || !live || !original) return BCT_NO_MEMORY;
    *kept = names;
    for (uint32_t each = 0; each < rows; each++) {
        live[each] = (int64_t)(row + each);
        original[each] = BCT_NONE;
        BCT_AT(held->entry_of, uint64_t, row + each) = names.first + each;
    }
    return BCT_OK;
}

/* Takes a block that names entries, and does to them what it says. */
static bct_status bct_read_changes(bct_contents *held, const uint8_t *kind, const uint8_t *at, const uint8_t *end, uint32_t rows) {
    const uint8_t *numbers = at;
    int is_move = !memcmp(kind, "MOVE", 4), has_rows = is_move || !memcmp(kind, "REPL", 4);
    int is_removal = !memcmp(kind, "REMO", 4), is_restored = !memcmp(kind, "REST", 4);
    if ((uint64_t)(end - at) < (uint64_t)rows * 8) return BCT_DAMAGED;
    int64_t *row_of = (int64_t *)held->row_of.items, *original_of = (int64_t *)held->original_of.items;
    for (uint32_t each = 0; each < rows; each++) {
        uint64_t number = bct_u64(numbers + 8 * (size_t)each);
        if (number >= held->row_of.count || row_of[number] == BCT_NONE) return BCT_DAMAGED;
        if (!has_rows && !is_removal && original_of[number] == BCT_NONE) return BCT_DAMAGED;
    }
    uint64_t row = held->entry_of.count;
    if (has_rows && !bct_read_rows(held, at + (size_t)rows * 8, end, rows)) return BCT_DAMAGED;
    /* Of an entry that is named twice both see what was there before the block. */
    for (uint32_t each = 0; each < rows; each++) {
        uint64_t number = bct_u64(numbers + 8 * (size_t)each);
        if (is_move && original_of[number] == BCT_NONE) original_of[number] = row_of[number];
        if (is_restored && original_of[number] != BCT_NONE) row_of[number] = original_of[number];
        if (!is_move) original_of[number] = BCT_NONE;
    }
    for (uint32_t each = 0; each < rows; each++) {
        uint64_t number = bct_u64(numbers + 8 * (size_t)each);
        if (is_removal) row_of[number] = BCT_NONE;
        if (!has_rows) continue;
        row_of[number] = (int64_t)(row + each);
        BCT_AT(held->entry_of, uint64_t, row + each) = number;
    }
    return BCT_OK;
}

static bct_status bct_read_block(bct_contents *held, const uint8_t *kind, const uint8_t *at, const uint8_t *end, uint32_t rows) {
    if (!memcmp(kind, "ENTR", 4)) return bct_read_entries(held, at, end, rows);
    if (!memcmp(kind, "ENCO", 4)) return bct_read_encoder(held, at, (size_t)(end - at));
    if (!memcmp(kind, "COMP", 4)) return bct_read_compatibility(held, at, (size_t)(end - at));
    static const char *const others[] = {"REPL", "MOVE", "REMO", "REST", "FORG"};
    for (size_t each = 0; each < sizeof others / sizeof *others; each++)
        if (!memcmp(kind, others[each], 4)) return bct_read_changes(held, kind, at, end, rows);
    return BCT_DAMAGED;
}

static const bct_rows *bct_part_of(const bct_contents *held, uint64_t row) {
    size_t low = 0, high = held->parts.count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (BCT_AT(held->parts, bct_rows, middle).first <= row) low = middle;
        else high = middle;
    }
    return &BCT_AT(held->parts, bct_rows, low);
}

static uint32_t bct_maker(const bct_contents *held, int64_t row) {
    const bct_rows *part = bct_part_of(held, (uint64_t)row);
    return bct_u16(part->encoders + 2 * ((uint64_t)row - part->first));
}

static bct_status bct_read_file(bct_contents *held, const uint8_t *bytes, size_t size) {
    bct_make_crc_table();
    if (size < BCT_HEAD || !bct_head_holds(bytes) || memcmp(bytes, "BCTGALRY", 8)) return BCT_NO_GALLERY;
    if (bct_u32(bytes + 8) < 1 || bct_u32(bytes + 8) > 3) return BCT_OTHER_VERSION;
    if (size < BCT_FIRST_BLOCK || !bct_head_holds(bytes + BCT_HEAD)) return BCT_DAMAGED;
    uint64_t end = bct_u64(bytes + BCT_HEAD), at = BCT_FIRST_BLOCK;
    if (end < BCT_FIRST_BLOCK || end > size) return BCT_DAMAGED;
    while (at < end) {
        const uint8_t *head = bytes + at;
        if (end - at < BCT_HEAD || !bct_head_holds(head)) return BCT_DAMAGED;
        uint64_t length = bct_u64(head + 8);
        at += BCT_HEAD;
        if (length > end - at || bct_crc(bytes + at, (size_t)length) != bct_u32(head + 16)) return BCT_DAMAGED;
        bct_status status = bct_read_block(held, head, bytes + at, bytes + at + length, bct_u32(head + 4));
        if (status != BCT_OK) return status;
        at += length;
    }
    return BCT_OK;
}

bct_status bct_gallery_open(bct_gallery *gallery, const void *bytes, size_t size) {
    gallery->entries = 0;
    gallery->contents = (bct_contents *)calloc(1, sizeof(bct_contents));
    if (!gallery->contents) return BCT_NO_MEMORY;
    bct_contents *held = gallery->contents;
    bct_status status = bct_read_file(held, (const uint8_t *)bytes, size);
    if (status != BCT_OK) {
        bct_gallery_close(gallery);
        return status;
    }
    for (size_t number = 0; number < held->row_of.count; number++) {
        int64_t row = BCT_AT(held->row_of, int64_t, number);
        if (row == BCT_NONE) continue;
        BCT_AT(held->encoders, bct_encoder, bct_maker(held, row)).entries++;
        gallery->entries++;
    }
    return BCT_OK;
}

/* ---- search: which entries by which embedding (bct_keras/gallery/spaces.py) ---- */

typedef struct {
    const float *query; /* of length 1 */
    uint64_t entries;
    const bct_odds *odds;
    double grid[BCT_GRID], on_grid[BCT_GRID];
} bct_lane;

typedef struct {
    int *by;           /* [encoders] by which embedding its entries are searched */
    uint64_t *entries; /* [encoders] how many are */
    int32_t *lane_of;  /* [encoders] */
    bct_lane *lanes;
    size_t lane_count;
    float *units[3]; /* by BCT_BY_... */
    size_t dims[3];
} bct_plan;

static const bct_declared *bct_declared_of(const bct_contents *held, const bct_query *query, const bct_encoder *encoder) {
    const bct_declared *found = NULL;
    for (size_t each = 0; each < held->declared.count; each++) {
        const bct_declared *declared = &BCT_AT(held->declared, bct_declared, each);
        if (!bct_is(declared->query, query->encoder) || !bct_same(declared->gallery, encoder->fingerprint)) continue;
        if (!found || declared->calibrated || !found->calibrated) found = declared;
    }
    return found;
}

static int bct_by(const bct_contents *held, const bct_query *query, const bct_encoder *encoder) {
    if (bct_is(encoder->fingerprint, query->encoder))
        return (double)query->dims == encoder->dims ? BCT_BY_EMBEDDING : BCT_BY_COMPATIBLE;
    const bct_declared *declared = bct_declared_of(held, query, encoder);
    return declared ? declared->by : BCT_BY_NONE;
}

/* Plans to search what an encoder's entries were before they were moved, where that is possible. */
static bct_status bct_plan_originals(const bct_contents *held, const bct_query *query, uint32_t moved, bct_plan *plan) {
    for (size_t number = 0; number < held->row_of.count; number++) {
        int64_t row = BCT_AT(held->row_of, int64_t, number);
        if (row == BCT_NONE || bct_maker(held, row) != moved) continue;
        int64_t original = BCT_AT(held->original_of, int64_t, number);
        if (original == BCT_NONE) return BCT_NOT_ADMITTED;
        uint32_t maker = bct_maker(held, original);
        int by = bct_by(held, query, &BCT_AT(held->encoders, bct_encoder, maker));
        if (!by) return BCT_NOT_ADMITTED;
        plan->by[maker] = by;
        plan->entries[maker]++;
    }
    return BCT_OK;
}

static bct_status bct_unit(const float *embedding, size_t dims, float **unit) {
    double squares = 0;
    for (size_t each = 0; each < dims; each++) squares += (double)embedding[each] * embedding[each];
    if (!(squares > 0) || isinf(squares)) return BCT_BAD_QUERY;
    *unit = (float *)malloc(dims * sizeof **unit);
    if (!*unit) return BCT_NO_MEMORY;
    for (size_t each = 0; each < dims; each++) (*unit)[each] = (float)(embedding[each] / sqrt(squares));
    return BCT_OK;
}

static bct_status bct_plan_units(const bct_query *query, bct_plan *plan) {
    const float *compatible = query->compatible ? query->compatible : query->embedding;
    plan->dims[BCT_BY_EMBEDDING] = query->dims;
    plan->dims[BCT_BY_COMPATIBLE] = query->compatible ? query->compatible_dims : query->dims;
    bct_status status = bct_unit(query->embedding, query->dims, &plan->units[BCT_BY_EMBEDDING]);
    if (status != BCT_OK) return status;
    return bct_unit(compatible, plan->dims[BCT_BY_COMPATIBLE], &plan->units[BCT_BY_COMPATIBLE]);
}

static bct_status bct_plan_lanes(const bct_contents *held, const bct_query *query, bct_plan *plan) {
    int unknown = 0, ways = 0;
    for (size_t each = 0; each < held->encoders.count; each++) {
        const bct_encoder *encoder = &BCT_AT(held->encoders, bct_encoder, each);
        if (!plan->by[each]) continue;
        if ((double)plan->dims[plan->by[each]] != encoder->dims) return BCT_OTHER_DIMS;
        const bct_declared *declared = bct_declared_of(held, query, encoder);
        bct_lane *lane = &plan->lanes[plan->lane_count];
        lane->query = plan->units[plan->by[each]];
        lane->entries = plan->entries[each];
        lane->odds = declared && declared->calibrated ? &declared->odds : NULL;
        if (lane->odds) bct_on_grid(lane->odds, lane->grid, lane->on_grid);
        else unknown = 1;
        ways |= plan->by[each];
        plan->lane_of[each] = (int32_t)plan->lane_count++;
    }
    if (!unknown) return BCT_OK;
    if (query->compatible && ways == (BCT_BY_EMBEDDING | BCT_BY_COMPATIBLE)) return BCT_NOT_CALIBRATED;
    /* One space: all are compared by their cosines. */
    for (size_t each = 1; each < plan->lane_count; each++) plan->lanes[0].entries += plan->lanes[each].entries;
    for (size_t each = 0; each < held->encoders.count; each++)
        if (plan->lane_of[each] > 0) plan->lane_of[each] = 0;
    plan->lanes[0].odds = NULL;
    plan->lane_count = 1;
    return BCT_OK;
}

static bct_status bct_make_plan(const bct_contents *held, const bct_query *query, bct_plan *plan) {
    size_t encoders = held->encoders.count + 1;
    plan->by = (int *)calloc(encoders, sizeof *plan->by);
    plan->entries = (uint64_t *)calloc(encoders, sizeof *plan->entries);
    plan->lane_of = (int32_t *)malloc(encoders * sizeof *plan->lane_of);
    plan->lanes = (bct_lane *)calloc(encoders, sizeof *plan->lanes);
    if (!plan->by || !plan->entries || !plan->lane_of || !plan->lanes) return BCT_NO_MEMORY;
    for (size_t each = 0; each < encoders; each++) plan->lane_of[each] = -1;
    int any = 0;
    for (uint32_t each = 0; each < held->encoders.count; each++) {
        const bct_encoder *encoder = &BCT_AT(held->encoders, bct_encoder, each);
        if (!encoder->entries) continue;
        any = 1;
        int by = bct_by(held, query, encoder);
        if (by) {
            plan->by[each] = by;
            plan->entries[each] += encoder->entries;
        } else {
            bct_status status = bct_plan_originals(held, query, each, plan);
            if (status != BCT_OK) return status;
        }
    }
    if (!any) return BCT_OK;
    bct_status status = bct_plan_units(query, plan);
    if (status != BCT_OK) return status;
    return bct_plan_lanes(held, query, plan);
}

static void bct_free_plan(bct_plan *plan) {
    free(plan->by);
    free(plan->entries);
    free(plan->lane_of);
    free(plan->lanes);
    free(plan->units[BCT_BY_EMBEDDING]);
    free(plan->units[BCT_BY_COMPATIBLE]);
}

/* ---- search: the scan ---- */

typedef struct {
    uint64_t row;
    float coarse;
} bct_candidate;

typedef struct {
    bct_candidate *items; /* the worst first, as a heap has it */
    size_t count, room;
} bct_heap;

typedef struct {
    uint64_t row, number;
    double score, cosine;
} bct_scored;

static void bct_push(bct_heap *heap, uint64_t row, float coarse) {
    size_t place;
    if (heap->count < heap->room) {
        place = heap->count++;
        while (place && heap->items[(place - 1) / 2].coarse > coarse) {
            heap->items[place] = heap->items[(place - 1) / 2];
            place = (place - 1) / 2;
        }
    } else {
        if (!(coarse > heap->items[0].coarse)) return;
        place = 0;
        for (size_t child = 1; child < heap->count; child = 2 * place + 1) {
            if (child + 1 < heap->count && heap->items[child + 1].coarse < heap->items[child].coarse) child++;
            if (heap->items[child].coarse >= coarse) break;
            heap->items[place] = heap->items[child];
            place = child;
        }
    }
    heap->items[place].row = row;
    heap->items[place].coarse = coarse;
}

/* The loop is one that compilers make vector instructions of. */
static int32_t bct_dot(const int8_t *one, const int8_t *other, size_t dims) {
    int32_t sum = 0;
    for (size_t each = 0; each < dims; each++) sum += (int16_t)one[each] * (int16_t)other[each];
    return sum;
}

static float bct_coarse(const int8_t *query, const bct_rows *part, size_t row) {
    const int8_t *high = (const int8_t *)part->high + row * part->dims;
    float sum = 0;
    for (size_t start = 0; start < part->dims; start += 65536) {
        size_t some = part->dims - start < 65536 ? part->dims - start : 65536;
        sum += (float)bct_dot(query + start, high + start, some);
    }
    return sum * bct_f32(part->scale + 4 * row);
}

static double bct_cosine(const float *query, const bct_rows *part, size_t row) {
    const int8_t *high = (const int8_t *)part->high + row * part->dims;
    const int8_t *low = (const int8_t *)part->low + row * part->dims;
    double sum = 0;
    for (size_t each = 0; each < part->dims; each++) sum += (double)query[each] * (256 * high[each] + low[each]);
    return sum * bct_f32(part->scale + 4 * row);
}

/* Returns the upper bytes of a query, as entries have them. */
static int8_t *bct_upper_bytes(const float *query, size_t dims) {
    int8_t *high = (int8_t *)malloc(dims);
    float largest = 0;
    for (size_t each = 0; each < dims; each++) largest = fmaxf(largest, fabsf(query[each]));
    for (size_t each = 0; high && each < dims; each++) {
        int whole = (int)rintf(query[each] / (largest / 32639.0f));
        high[each] = (int8_t)((whole + 128 + 65536) / 256 - 256);
    }
    return high;
}

/* Finds the id or the label of an entry, which may be no text. */
static const char *bct_text_of(const bct_contents *held, uint64_t number, int column, size_t *bytes) {
    size_t low = 0, high = held->names.count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (BCT_AT(held->names, bct_names, middle).first <= number) low = middle;
        else high = middle;
    }
    const bct_names *names = &BCT_AT(held->names, bct_names, low);
    size_t row = (size_t)(number - names->first);
    const uint8_t *end = names->ends + 4 * ((size_t)column * names->rows + row);
    uint32_t start = row ? bct_u32(end - 4) : 0;
    *bytes = bct_u32(end) - start;
    return (const char *)(column == BCT_ID ? names->ids : names->labels) + start;
}

/* Tells whether a query searches an entry, by its label. */
static int bct_wants(const bct_contents *held, const bct_query *query, uint64_t number) {
    if (!query->label_count) return 1;
    size_t bytes;
    const char *label = bct_text_of(held, number, BCT_LABEL, &bytes);
    for (size_t each = 0; each < query->label_count; each++) {
        const char *wanted = query->labels[each];
        if (strlen(wanted) == bytes && !memcmp(wanted, label, bytes)) return 1;
    }
    return 0;
}

/* Writes for each row which lane searches it; -1 where none does. */
static void bct_choose(const bct_contents *held, const bct_query *query, const bct_plan *plan, int32_t *lane_of_row) {
    for (size_t row = 0; row < held->entry_of.count; row++) lane_of_row[row] = -1;
    for (size_t number = 0; number < held->row_of.count; number++) {
        int64_t row = BCT_AT(held->row_of, int64_t, number);
        if (row == BCT_NONE || !bct_wants(held, query, number)) continue;
        int32_t lane = plan->lane_of[bct_maker(held, row)];
        if (lane < 0) {
            row = BCT_AT(held->original_of, int64_t, number);
            lane = plan->lane_of[bct_maker(held, row)];
        }
        lane_of_row[row] = lane;
    }
}

static bct_status bct_scan(const bct_contents *held, const bct_lane *lane, int32_t which, const int32_t *lane_of_row, bct_heap *heap) {
    int8_t *high = NULL;
    for (size_t place = 0; place < held->parts.count; place++) {
        const bct_rows *part = &BCT_AT(held->parts, bct_rows, place);
        const int32_t *chosen = lane_of_row + part->first;
        for (size_t row = 0; row < part->rows; row++) {
            if (chosen[row] != which) continue;
            float coarse = 0; /* all are scored again anyway */
            if (lane->entries > heap->room) {
                if (!high && !(high = bct_upper_bytes(lane->query, part->dims))) return BCT_NO_MEMORY;
                coarse = bct_coarse(high, part, row);
            }
            bct_push(heap, part->first + row, coarse);
        }
    }
    free(high);
    return BCT_OK;
}

static int bct_compare(const void *one, const void *other) {
    const bct_scored *a = (const bct_scored *)one, *b = (const bct_scored *)other;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->cosine != b->cosine) return a->cosine > b->cosine ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Finds the rows of one lane that may be among the best, and their scores. */
static bct_status bct_score_lane(const bct_contents *held, const bct_lane *lane, int32_t which, const int32_t *lane_of_row, size_t top, bct_list *scored) {
    bct_heap heap = {NULL, 0, 0};
    heap.room = lane->entries < BCT_SPARE || (lane->entries - BCT_SPARE) / 2 < top ? (size_t)lane->entries : 2 * top + BCT_SPARE;
    heap.items = (bct_candidate *)malloc((heap.room + 1) * sizeof *heap.items);
    if (!heap.items) return BCT_NO_MEMORY;
    bct_status status = bct_scan(held, lane, which, lane_of_row, &heap);
    bct_scored *found = (bct_scored *)bct_add(scored, heap.count, sizeof *found);
    if (status == BCT_OK && heap.count && !found) status = BCT_NO_MEMORY;
    for (size_t each = 0; status == BCT_OK && each < heap.count; each++) {
        const bct_rows *part = bct_part_of(held, heap.items[each].row);
        found[each].row = heap.items[each].row;
        found[each].number = BCT_AT(held->entry_of, uint64_t, found[each].row);
        found[each].cosine = bct_cosine(lane->query, part, (size_t)(found[each].row - part->first));
        found[each].score = found[each].cosine;
        if (lane->odds) found[each].score = bct_interpolated(found[each].cosine, lane->grid, lane->on_grid, BCT_GRID);
    }
    free(heap.items);
    return status;
}

/* Returns the share of pairs of two identities that stand as high in the whole list. */
static double bct_rate(const bct_plan *plan, double score) {
    uint64_t entries = 0;
    double found = 0;
    for (size_t each = 0; each < plan->lane_count; each++) entries += plan->lanes[each].entries;
    for (size_t each = 0; each < plan->lane_count; each++) {
        const bct_lane *lane = &plan->lanes[each];
        if (!lane->odds) return -1;
        double cosine = bct_interpolated(score, lane->on_grid, lane->grid, BCT_GRID);
        found += (double)lane->entries / (double)entries * exp(bct_log_rate(&lane->odds->impostors, cosine));
    }
    return found;
}

static bct_status bct_name(const bct_contents *held, uint64_t number, bct_match *match) {
    match->id = bct_text_of(held, number, BCT_ID, &match->id_bytes);
    match->label = bct_text_of(held, number, BCT_LABEL, &match->label_bytes);
    if (!bct_is_utf8((const uint8_t *)match->id, match->id_bytes)) return BCT_DAMAGED;
    if (!bct_is_utf8((const uint8_t *)match->label, match->label_bytes)) return BCT_DAMAGED;
    return BCT_OK;
}

static bct_status bct_find(const bct_contents *held, const bct_query *query, const bct_plan *plan, size_t top, bct_match *found, size_t *count) {
    bct_list scored = {NULL, 0, 0};
    bct_status status = BCT_OK;
    int32_t *lane_of_row = (int32_t *)malloc((held->entry_of.count + 1) * sizeof *lane_of_row);
    if (!lane_of_row) return BCT_NO_MEMORY;
    bct_choose(held, query, plan, lane_of_row);
    for (size_t lane = 0; status == BCT_OK && lane < plan->lane_count; lane++)
        status = bct_score_lane(held, &plan->lanes[lane], (int32_t)lane, lane_of_row, top, &scored);
    free(lane_of_row);
    if (status == BCT_OK && scored.count) qsort(scored.items, scored.count, sizeof(bct_scored), bct_compare);
    for (size_t each = 0; status == BCT_OK && each < scored.count && each < top; each++) {
        const bct_scored *best = &BCT_AT(scored, bct_scored, each);
        status = bct_name(held, best->number, &found[each]);
        found[each].encoder = BCT_AT(held->encoders, bct_encoder, bct_maker(held, (int64_t)best->row)).fingerprint.text;
        found[each].score = best->cosine;
        found[each].rate = bct_rate(plan, best->score);
        *count = each + 1;
    }
    free(scored.items);
    return status;
}

bct_status bct_gallery_search(const bct_gallery *gallery, const bct_query *query, size_t top, bct_match *found, size_t *count) {
    bct_plan plan;
    memset(&plan, 0, sizeof plan);
    *count = 0;
    bct_status status = bct_make_plan(gallery->contents, query, &plan);
    if (status == BCT_OK && plan.lane_count) status = bct_find(gallery->contents, query, &plan, top, found, count);
    if (status != BCT_OK) *count = 0;
    bct_free_plan(&plan);
    return status;
}

const char *bct_words(bct_status status) {
    switch (status) {
        case BCT_OK: return "good";
        case BCT_NO_GALLERY: return "no gallery";
        case BCT_OTHER_VERSION: return "other version";
        case BCT_DAMAGED: return "damaged";
        case BCT_NOT_ADMITTED: return "not admitted";
        case BCT_OTHER_DIMS: return "other dimensions";
        case BCT_NOT_CALIBRATED: return "not calibrated";
        case BCT_BAD_QUERY: return "bad query";
        case BCT_NO_MEMORY: return "no memory";
    }
    return "unknown";
}

#endif /* BCT_GALLERY_IMPLEMENTATION */
