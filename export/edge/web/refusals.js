// Says why a gallery takes a query not.

const SAYS = {
  "no gallery": "This is no gallery file, or its first bytes are damaged.",
  "other version": "This gallery was written by a later program; this page reads versions 1 to 3.",
  "damaged": "This gallery is damaged; copy it again.",
  "not admitted": "This model is not known to fit every entry of the gallery; evaluate the two and declare the report with 'gallery add --report=FOLDER'.",
  "other dimensions": "The model gives other dimensions than the entries of the gallery have.",
  "not calibrated": "The gallery holds entries of two kinds, and no report says how their scores compare; declare one with 'gallery add --report=FOLDER'.",
  "bad query": "The model's embedding of this photo is no direction to search by.",
};

export class GalleryError extends Error {
  constructor(word) {
    super(SAYS[word]);
    this.word = word;
  }
}

// Raises unless something holds.
export function demand(holds, word = "damaged") {
  if (!holds) throw new GalleryError(word);
}
