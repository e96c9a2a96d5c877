// Stretches pixels as the page does, for readers_test.py; writes the bytes of all.
//
//   node stretch.mjs FOLDER SIZE WIDTHxHEIGHT ...

import {readFileSync} from "node:fs";

import {squared} from "../../export/edge/web/photo.js";

const [folder, size, ...names] = process.argv.slice(2);
for (const name of names) {
  const [width, height] = name.split("x").map(Number);
  const data = readFileSync(`${folder}/${name}`);
  process.stdout.write(squared({width, height, data}, Number(size)));
}
