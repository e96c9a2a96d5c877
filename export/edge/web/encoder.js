// Embeds photos by a .tflite file that `export` has written, in LiteRT.js.

import {Tensor, loadAndCompile, loadLiteRt} from "@litertjs/core";

const RUN_TIME = new URL("./node_modules/@litertjs/core/wasm/", import.meta.url).href;
const EMBEDDING = "embedding";
const COMPATIBLE = "embedding_compatible";
let loading = null;

// LiteRT tells of its start on the stream of errors, which a browser shows as faults of the page.
function quieter() {
  const error = console.error;
  console.error = (...said) => (/^(INFO|WARNING): /.test(String(said[0])) ? console.debug(...said) : error(...said));
}

async function runTime() {
  if (!loading) quieter();
  loading ??= loadLiteRt(RUN_TIME);
  await loading;
}

// Returns the SHA-256 of a file in hexadecimal, by which galleries know an encoder.
async function fingerprintOf(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("Open this page by https, or on localhost: it needs the browser's SHA-256.");
  }
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Encoder {
  // Loads a file; `accelerator` is wasm or webgpu, whose numbers are less exact.
  static async load(bytes, accelerator = "wasm") {
    await runTime();
    const encoder = new Encoder();
    encoder.fingerprint = await fingerprintOf(bytes);
    try {
      encoder.model = await loadAndCompile(new Uint8Array(bytes), {accelerator});
    } catch {
      throw new Error("This file is no model that LiteRT.js can run.");
    }
    const [input, ...others] = encoder.model.getInputDetails();
    const shape = [...(input?.shape ?? [])];
    const isImage = shape.length === 4 && shape[0] === 1 && shape[1] === shape[2] && shape[3] === 3;
    if (others.length || !isImage || input.dtype !== "uint8") {
      throw new Error("This model does not take one square image of bytes; export writes such a file as encoder.tflite.");
    }
    encoder.input = input.name;
    encoder.size = shape[1];
    return encoder;
  }

  // Returns the query of pixels [size, size, 3].
  async query(pixels) {
    const tensor = new Tensor(pixels, [1, this.size, this.size, 3]);
    const found = await this.model.run({[this.input]: tensor});
    tensor.delete();
    const embeddings = {};
    for (const [name, output] of Object.entries(found)) {
      const here = output.accelerator === "wasm" ? output : await output.moveTo("wasm");
      embeddings[name] = Float32Array.from(here.toTypedArray());
      here.delete();
    }
    const [only] = Object.values(embeddings);
    return {
      encoder: this.fingerprint,
      embedding: embeddings[EMBEDDING] ?? only,
      compatible: embeddings[COMPATIBLE] ?? null,
    };
  }
}
