// Reads a photo's pixels as bct_keras does (export/edge/photo.py), to the last bit where the browser
// decodes as Pillow does: README.md says where it does not.

const PRECISION = 22; // bits of a weight, as in Pillow
const HALF = 2 ** (PRECISION - 1);
const MOST_PIXELS = 64_000_000;

// Returns the pixels {width, height, data} of a photo in RGBA, turned as it says itself.
export async function decoded(file) {
  const start = new Uint8Array(await file.slice(0, 8).arrayBuffer());
  const isJpeg = start[0] === 0xff && start[1] === 0xd8;
  const isPng = String.fromCharCode(...start.subarray(1, 4)) === "PNG";
  if (!isJpeg && !isPng) throw new Error("This is no JPEG or PNG image.");
  const options = {colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image"};
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, options);
  } catch {
    throw new Error("This image cannot be read; it may be damaged.");
  }
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

// Returns the pixels of anything that a canvas can draw.
export function pixelsOf(image, width, height) {
  if (width * height > MOST_PIXELS) throw new Error(`${width} x ${height} pixels are too many.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, width, height);
  return {width, height, data};
}

// Returns the weights of one direction: for each new pixel where its old ones begin, and how much
// each counts.
function weights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const found = [];
  for (let place = 0; place < to; place++) {
    const center = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), from);
    const shares = [];
    let sum = 0;
    for (let each = first; each < end; each++) {
      const share = Math.max(1 - Math.abs((each - center + 0.5) / support), 0);
      shares.push(share);
      sum += share;
    }
    found.push({first, shares: shares.map((share) => Math.trunc(0.5 + (share / sum) * 2 ** PRECISION))});
  }
  return found;
}

// Stretches every line of RGBA pixels [height, width, 4] to `size` pixels; alpha is left out.
function stretchedLines(data, width, height, size) {
  const target = new Uint8Array(4 * size * height);
  const places = weights(width, size);
  for (let line = 0, to = 0; line < height; line++) {
    for (const {first, shares} of places) {
      let red = HALF, green = HALF, blue = HALF;
      let at = 4 * (line * width + first);
      for (let each = 0; each < shares.length; each++, at += 4) {
        const share = shares[each];
        red = (red + data[at] * share) | 0;
        green = (green + data[at + 1] * share) | 0;
        blue = (blue + data[at + 2] * share) | 0;
      }
      target[to] = Math.min(red >> PRECISION, 255);
      target[to + 1] = Math.min(green >> PRECISION, 255);
      target[to + 2] = Math.min(blue >> PRECISION, 255);
      to += 4;
    }
  }
  return target;
}

// Stretches every column to `size` pixels. It adds up whole lines, as they lie in memory.
function stretchedColumns(data, width, height, size) {
  const bytes = 4 * width;
  const target = new Uint8Array(size * bytes);
  const sums = new Int32Array(bytes);
  weights(height, size).forEach(({first, shares}, place) => {
    sums.fill(HALF);
    shares.forEach((share, each) => {
      const start = (first + each) * bytes;
      for (let at = 0; at < bytes; at++) sums[at] += data[start + at] * share;
    });
    const start = place * bytes;
    for (let at = 0; at < bytes; at++) target[start + at] = Math.min(sums[at] >> PRECISION, 255);
  });
  return target;
}

// Returns the pixels in RGB [size, size, 3], stretched to a square by Pillow's bilinear filter.
export function squared({width, height, data}, size) {
  // As Pillow 13 chooses; one before 13 may always begin with the rows.
  const columnsFirst = height > size && height - size > 2 * (width - size);
  for (const isColumns of [columnsFirst, !columnsFirst]) {
    if (isColumns) {
      if (height !== size) data = stretchedColumns(data, width, height, size);
      height = size;
    } else {
      if (width !== size) data = stretchedLines(data, width, height, size);
      width = size;
    }
  }
  const pixels = new Uint8Array(3 * size * size);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return pixels;
}
