// Reads a gallery file of bct_keras in a browser or in Node, read-only.
//
// The format stands in bct_keras/gallery/FORMAT.md; this refuses what bct_keras refuses. search.js searches it.

import {Odds} from "./calibration.js";
import {GalleryError, demand} from "./refusals.js";

const HEAD = 64;
const FIRST_BLOCK = 128;
export const NONE = -1;
export const BY_EMBEDDING = "embedding";
export const BY_COMPATIBLE = "embedding_compatible";
const LARGEST_SCALE = 2 ** -14;
const FACTS = {
  ENCO: {fingerprint: "string", dims: "number", name: "string", base: "string", adapter: "string"},
  COMP: {query: "string", gallery: "string", report: "string", finding: "string", by: "string", calibration: "object"},
};

// CRC-32 as zlib has it, four bytes at a time.
const CRC = [0, 1, 2, 3].map(() => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  CRC[0][byte] = rest;
}
for (let byte = 0; byte < 256; byte++) {
  for (let ahead = 1; ahead < 4; ahead++) {
    const before = CRC[ahead - 1][byte];
    CRC[ahead][byte] = (before >>> 8) ^ CRC[0][before & 255];
  }
}

function crc32(bytes) {
  const [one, two, three, four] = CRC;
  const whole = bytes.length - (bytes.length % 4);
  let crc = -1, at = 0;
  for (; at < whole; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc = four[crc & 255] ^ three[(crc >>> 8) & 255] ^ two[(crc >>> 16) & 255] ^ one[crc >>> 24];
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ one[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}

const decoder = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});

function text(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new GalleryError("damaged");
  }
}

// Reads the JSON object of a fact. Every name has a type, and those with a default may be missing.
function fact(payload, types, defaults) {
  let end = payload.length, found;
  while (end && !payload[end - 1]) end--;
  const json = text(payload.subarray(0, end));
  try {
    found = JSON.parse(json);
  } catch {
    throw new GalleryError("damaged");
  }
  demand(found && typeof found === "object" && !Array.isArray(found));
  demand(Object.keys(found).every((name) => Object.hasOwn(types, name)));
  found = {...defaults, ...found};
  for (const [name, type] of Object.entries(types)) {
    const value = found[name];
    demand(typeof value === type && value !== null && !Array.isArray(value));
  }
  return found;
}

export class Gallery {
  constructor(buffer) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.encoders = [];
    this.declared = [];
    this.parts = []; // {first, rows, dims, scale, makers, high, low}
    this.names = []; // {first, rows, ends, ids, labels}: places in the bytes
    this.rowOf = []; // of each number the live row, or NONE
    this.originalOf = []; // and the row before it was moved, or NONE
    this.entryOf = [];
    demand(this.bytes.length >= HEAD && this.headHolds(0), "no gallery");
    demand(String.fromCharCode(...this.bytes.subarray(0, 8)) === "BCTGALRY", "no gallery");
    const version = this.view.getUint32(8, true);
    demand(version >= 1 && version <= 3, "other version");
    demand(this.bytes.length >= FIRST_BLOCK && this.headHolds(HEAD));
    const end = Number(this.view.getBigUint64(HEAD, true));
    demand(end >= FIRST_BLOCK && end <= this.bytes.length);
    for (let at = FIRST_BLOCK; at < end; ) at = this.readBlock(at, end);
    this.count();
  }
  headHolds(at) {
    return crc32(this.bytes.subarray(at, at + HEAD - 4)) === this.view.getUint32(at + HEAD - 4, true);
  }
  readBlock(head, end) {
    demand(end - head >= HEAD && this.headHolds(head));
    const kind = String.fromCharCode(...this.bytes.subarray(head, head + 4));
    const rows = this.view.getUint32(head + 4, true);
    const length = Number(this.view.getBigUint64(head + 8, true));
    const at = head + HEAD;
    const payload = this.bytes.subarray(at, at + length);
    demand(length <= end - at && crc32(payload) === this.view.getUint32(head + 16, true));
    if (kind === "ENCO") this.readEncoder(payload);
    else if (kind === "COMP") this.readCompatibility(payload);
    else if (kind === "ENTR") this.readEntries(at, at + length, rows);
    else this.readChanges(kind, at, at + length, rows);
    return at + length;
  }
  readEncoder(payload) {
    const names = Object.keys(FACTS.ENCO);
    const encoder = fact(payload, FACTS.ENCO, {base: "", adapter: ""});
    demand(Number.isInteger(encoder.dims) && encoder.dims >= 1);
    demand(!this.encoders.some((known) => names.every((name) => known[name] === encoder[name])));
    this.encoders.push({...encoder, entries: 0});
  }
  readCompatibility(payload) {
    const found = fact(payload, FACTS.COMP, {by: BY_COMPATIBLE, calibration: {}});
    demand(found.by === BY_EMBEDDING || found.by === BY_COMPATIBLE);
    found.odds = Object.keys(found.calibration).length ? new Odds(found.calibration) : null;
    this.declared.push(found);
  }
  readRows(at, end, rows) {
    const makers = at + 4 * rows, high = at + 6 * rows;
    demand(high <= end);
    let dims = 0;
    for (let row = 0; row < rows; row++) {
      const maker = this.encoders[this.view.getUint16(makers + 2 * row, true)];
      const scale = this.view.getFloat32(at + 4 * row, true);
      demand(maker && (!row || maker.dims === dims) && scale > 0 && scale < LARGEST_SCALE);
      dims = maker.dims;
    }
    demand(high + 2 * rows * dims <= end);
    const low = high + rows * dims;
    this.parts.push({first: this.entryOf.length, rows, dims, scale: at, makers, high, low});
    return high + 2 * rows * dims;
  }
  readEntries(at, end, rows) {
    const first = this.rowOf.length, row = this.entryOf.length, sizes = [0, 0];
    demand(rows && at + 8 * rows <= end);
    const ids = this.readRows(at + 8 * rows, end, rows);
    for (let column = 0; column < 2; column++) {
      for (let each = 0; each < rows; each++) {
        const next = this.view.getUint32(at + 4 * (column * rows + each), true);
        demand(next >= sizes[column]);
        sizes[column] = next;
      }
    }
    demand(ids + sizes[0] + sizes[1] <= end);
    this.names.push({first, rows, ends: at, ids, labels: ids + sizes[0]});
    for (let each = 0; each < rows; each++) {
      this.rowOf.push(row + each);
      this.originalOf.push(NONE);
      this.entryOf.push(first + each);
    }
  }
  readChanges(kind, at, end, rows) {
    const hasRows = kind === "REPL" || kind === "MOVE", lets = kind === "REST" || kind === "FORG";
    demand((hasRows || lets || kind === "REMO") && at + 8 * rows <= end);
    const numbers = [];
    for (let each = 0; each < rows; each++) {
      const number = Number(this.view.getBigUint64(at + 8 * each, true));
      demand(number < this.rowOf.length && this.rowOf[number] !== NONE);
      demand(!(lets && this.originalOf[number] === NONE));
      numbers.push(number);
    }
    const row = this.entryOf.length;
    if (hasRows) this.readRows(at + 8 * rows, end, rows);
    // Of an entry that is named twice both see what was there before the block.
    for (const number of numbers) {
      if (kind === "MOVE") {
        if (this.originalOf[number] === NONE) this.originalOf[number] = this.rowOf[number];
        continue;
      }
      const original = this.originalOf[number];
      if (kind === "REST" && original !== NONE) this.rowOf[number] = original;
      this.originalOf[number] = NONE;
    }
    numbers.forEach((number, each) => {
      if (kind === "REMO") this.rowOf[number] = NONE;
      if (hasRows) this.entryOf.push(number);
      if (hasRows) this.rowOf[number] = row + each;
    });
  }
  count() {
    this.entries = 0;
    for (const row of this.rowOf) {
      if (row === NONE) continue;
      this.encoders[this.maker(row)].entries++;
      this.entries++;
    }
  }
  // Returns the last of the items, which lie one after the other, that begins at a place or before it.
  static holding(items, place) {
    let low = 0, high = items.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (items[middle].first <= place) low = middle;
      else high = middle;
    }
    return items[low];
  }
  maker(row) {
    const part = Gallery.holding(this.parts, row);
    return this.view.getUint16(part.makers + 2 * (row - part.first), true);
  }
  name(number) {
    const names = Gallery.holding(this.names, number), row = number - names.first;
    const [id, label] = [names.ids, names.labels].map((start, column) => {
      const end = names.ends + 4 * (column * names.rows + row);
      const from = row ? this.view.getUint32(end - 4, true) : 0;
      return text(this.bytes.subarray(start + from, start + this.view.getUint32(end, true)));
    });
    return {id, label};
  }
  // Returns the numbers of the entries that are there and have this label.
  numbersOf(label) {
    const wanted = new TextEncoder().encode(label);
    const found = [];
    for (const {first, rows, ends, labels} of this.names) {
      let from = labels;
      for (let row = 0; row < rows; row++) {
        const end = labels + this.view.getUint32(ends + 4 * (rows + row), true), start = from;
        from = end;
        if (end - start !== wanted.length || this.rowOf[first + row] === NONE) continue;
        if (wanted.every((byte, at) => byte === this.bytes[start + at])) found.push(first + row);
      }
    }
    return found;
  }
}
