// Searches a gallery: which entries by which embedding (bct_keras/gallery/spaces.py), and the scan.
//
//   const gallery = new Gallery(await file.arrayBuffer());
//   const matches = search(gallery, {encoder: fingerprint, embedding, compatible: null, labels: []}, 5);
//
// Entries with one of the labels are searched, and no others; all where there are none.

import {interpolated} from "./calibration.js";
import {BY_COMPATIBLE, BY_EMBEDDING, Gallery, NONE} from "./gallery.js";
import {GalleryError, demand} from "./refusals.js";

const SPARE = 128;
const LARGEST = 127 * 256 + 127;

// Returns what was declared of queries of an encoder among entries of another. The latest counts,
// unless an earlier one knows what cosines stand for.
function declaredOf(gallery, query, encoder) {
  let found = null;
  for (const each of gallery.declared) {
    if (each.query !== query.encoder || each.gallery !== encoder.fingerprint) continue;
    if (!found || each.odds || !found.odds) found = each;
  }
  return found;
}

// Returns by which embedding of a query the entries of an encoder are searched; null where none fits.
function byOf(gallery, query, encoder) {
  if (query.encoder === encoder.fingerprint) {
    return query.embedding.length === encoder.dims ? BY_EMBEDDING : BY_COMPATIBLE;
  }
  return declaredOf(gallery, query, encoder)?.by ?? null;
}

// Returns for each encoder, by its place, by what and how many of its entries are searched.
function planned(gallery, query) {
  const plan = new Map();
  function add(place, by, entries) {
    const before = plan.get(place)?.entries ?? 0;
    plan.set(place, {by, entries: before + entries});
  }
  gallery.encoders.forEach((encoder, place) => {
    if (!encoder.entries) return;
    const by = byOf(gallery, query, encoder);
    if (by) add(place, by, encoder.entries);
    else planOriginals(gallery, query, place, add);
  });
  return plan;
}

// Plans to search what an encoder's entries were before they were moved, where that is possible.
function planOriginals(gallery, query, place, add) {
  gallery.rowOf.forEach((row, number) => {
    if (row === NONE || gallery.maker(row) !== place) return;
    const original = gallery.originalOf[number];
    demand(original !== NONE, "not admitted");
    const maker = gallery.maker(original);
    const by = byOf(gallery, query, gallery.encoders[maker]);
    demand(by, "not admitted");
    add(maker, by, 1);
  });
}

function unit(embedding) {
  let squares = 0;
  for (const each of embedding) squares += each * each;
  demand(squares > 0 && Number.isFinite(squares), "bad query");
  return Float32Array.from(embedding, (each) => each / Math.sqrt(squares));
}

// Returns what is searched together, with the place of each for the encoders.
function lanesOf(gallery, query, plan) {
  const embedding = unit(query.embedding);
  const compatible = query.compatible ? unit(query.compatible) : embedding;
  const units = {[BY_EMBEDDING]: embedding, [BY_COMPATIBLE]: compatible};
  const laneOf = new Array(gallery.encoders.length).fill(NONE);
  const ways = new Set();
  let lanes = [];
  for (const [place, {by, entries}] of plan) {
    const encoder = gallery.encoders[place];
    demand(units[by].length === encoder.dims, "other dimensions");
    laneOf[place] = lanes.length;
    ways.add(by);
    lanes.push({query: units[by], entries, odds: declaredOf(gallery, query, encoder)?.odds ?? null});
  }
  if (lanes.some((lane) => !lane.odds)) {
    demand(!query.compatible || ways.size < 2, "not calibrated");
    // One space: all are compared by their cosines.
    const entries = lanes.reduce((sum, lane) => sum + lane.entries, 0);
    lanes = [{query: lanes[0].query, entries, odds: null}];
    laneOf.forEach((lane, place) => (laneOf[place] = Math.min(lane, 0)));
  }
  return {lanes, laneOf};
}

// Returns for each row which lane searches it: one row for each entry that is searched.
function chosenRows(gallery, query, laneOf) {
  const wanted = query.labels?.length ? new Set(query.labels.flatMap((label) => gallery.numbersOf(label))) : null;
  const chosen = new Int32Array(gallery.entryOf.length).fill(NONE);
  gallery.rowOf.forEach((live, number) => {
    if (live === NONE || (wanted && !wanted.has(number))) return;
    let row = live;
    if (laneOf[gallery.maker(row)] === NONE) row = gallery.originalOf[number];
    chosen[row] = laneOf[gallery.maker(row)];
  });
  return chosen;
}

// Returns the upper bytes of a query, as entries have them.
function upperBytes(query) {
  const largest = query.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  return Int8Array.from(query, (each) => (Math.round((each / largest) * LARGEST) + 128) >> 8);
}

// Calls back with each row of a lane and its score by the upper bytes alone.
function scan(gallery, lane, which, chosen, found) {
  const query = upperBytes(lane.query);
  const signed = new Int8Array(gallery.bytes.buffer, gallery.bytes.byteOffset, gallery.bytes.length);
  for (const part of gallery.parts) {
    const dims = part.dims;
    for (let row = 0; row < part.rows; row++) {
      if (chosen[part.first + row] !== which) continue;
      let at = part.high + row * dims;
      let sum = 0;
      for (let each = 0; each < dims; each++) sum = (sum + query[each] * signed[at++]) | 0;
      found(part.first + row, sum * gallery.view.getFloat32(part.scale + 4 * row, true));
    }
  }
}

function cosine(gallery, query, row) {
  const part = Gallery.holding(gallery.parts, row);
  const place = row - part.first;
  const signed = new Int8Array(gallery.bytes.buffer, gallery.bytes.byteOffset, gallery.bytes.length);
  const high = part.high + place * part.dims;
  const low = part.low + place * part.dims;
  let sum = 0;
  for (let each = 0; each < part.dims; each++) {
    sum += query[each] * (256 * signed[high + each] + signed[low + each]);
  }
  return sum * gallery.view.getFloat32(part.scale + 4 * place, true);
}

// Returns the rows of a lane that may be among the best, with their scores.
function candidates(gallery, lane, which, chosen, top) {
  const count = Math.min(2 * top + SPARE, lane.entries);
  const kept = [];
  let least = -Infinity;
  scan(gallery, lane, which, chosen, (row, coarse) => {
    if (coarse <= least) return;
    kept.push({row, coarse});
    if (kept.length < 2 * count + SPARE) return;
    kept.sort((one, other) => other.coarse - one.coarse);
    kept.length = count;
    least = kept.at(-1).coarse;
  });
  kept.sort((one, other) => other.coarse - one.coarse);
  return kept.slice(0, count).map(({row}) => {
    const found = cosine(gallery, lane.query, row);
    const score = lane.odds ? interpolated(found, lane.odds.grid, lane.odds.onGrid) : found;
    return {row, number: gallery.entryOf[row], cosine: found, score};
  });
}

// Returns the share of pairs of two identities that stand as high in the whole list; null where it
// is not known.
function rateOf(lanes, score) {
  if (lanes.some((lane) => !lane.odds)) return null;
  const entries = lanes.reduce((sum, lane) => sum + lane.entries, 0);
  let rate = 0;
  for (const lane of lanes) {
    const at = interpolated(score, lane.odds.onGrid, lane.odds.grid);
    rate += (lane.entries / entries) * Math.exp(lane.odds.impostors.logRate(at));
  }
  return rate;
}

// Returns the `top` entries most like a query, the best first: {id, label, encoder, score, rate}.
// Raises a GalleryError where the query does not fit every entry.
export function search(gallery, query, top) {
  const plan = planned(gallery, query);
  if (!plan.size) return [];
  const {lanes, laneOf} = lanesOf(gallery, query, plan);
  const chosen = chosenRows(gallery, query, laneOf);
  const found = lanes.flatMap((lane, which) => candidates(gallery, lane, which, chosen, top));
  // Of equal scores the older entry comes first.
  found.sort((one, other) => other.score - one.score || other.cosine - one.cosine || one.number - other.number);
  return found.slice(0, top).map(({row, number, cosine: score, score: ranked}) => ({
    ...gallery.name(number),
    encoder: gallery.encoders[gallery.maker(row)].fingerprint,
    score,
    rate: rateOf(lanes, ranked),
  }));
}

export {Gallery, GalleryError};
