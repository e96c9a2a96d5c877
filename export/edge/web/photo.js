// Reads a photo's pixels as bct_keras does (export/edge/photo.py), to the last bit where the browser
// decodes as Pillow does: README.md says where it does not.

const PRECISION = 22; // bits of a weight, as in Pillow
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

// Stretches along one direction. `step` leads from a pixel to the next in it, `across` to the next line.
function stretched(source, {from, to, lines, step, across, newStep, newAcross}) {
  const target = new Uint8Array(to * lines * 3);
  weights(from, to).forEach(({first, shares}, place) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 2 ** (PRECISION - 1);
        let at = first * step + line * across + channel;
        for (const share of shares) {
          sum += source[at] * share;
          at += step;
        }
        target[place * newStep + line * newAcross + channel] = Math.min(sum >> PRECISION, 255);
      }
    }
  });
  return target;
}

// Returns the pixels in RGB [size, size, 3], stretched to a square by Pillow's bilinear filter.
export function squared({width, height, data}, size) {
  let pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  // As Pillow 13 chooses; one before 13 may always begin with the rows.
  const columnsFirst = height > size && height - size > 2 * (width - size);
  for (const isColumns of [columnsFirst, !columnsFirst]) {
    if (isColumns) {
      const step = 3 * width;
      const columns = {from: height, to: size, lines: width, step, across: 3, newStep: step, newAcross: 3};
      if (height !== size) pixels = stretched(pixels, columns);
      height = size;
    } else {
      const along = {from: width, to: size, lines: height, step: 3, newStep: 3};
      if (width !== size) pixels = stretched(pixels, {...along, across: 3 * width, newAcross: 3 * size});
      width = size;
    }
  }
  return pixels;
}
