// Times a query on the page of export/edge/web/, for page.py.
//
//   node page.mjs CHROMIUM ADDRESS FOLDER    prints the milliseconds of each part of each query as JSON

import {readdirSync} from "node:fs";
import {join} from "node:path";

import {chromium} from "../../export/edge/web/node_modules/playwright-core/index.mjs";

const [program, address, folder] = process.argv.slice(2);
const browser = await chromium.launch({executablePath: program, args: ["--no-sandbox"]});
const page = await browser.newPage();

async function give(id, name, answer, pattern) {
  await page.setInputFiles(`#${id}`, join(folder, name));
  await page.waitForFunction(
    ([answer, pattern]) => new RegExp(pattern).test(document.getElementById(answer).textContent),
    [answer, pattern],
  );
}

await page.goto(address);
await give("model", "encoder.tflite", "model-state", "pixels");
await give("gallery", "people.gallery", "gallery-state", "entries");
const found = {};
for (const name of readdirSync(folder).filter((each) => each.startsWith("photo"))) {
  await give("photo", name, "verdict", "entries in");
  found[name] = await page.evaluate(async () => {
    const {held, squared, search, find} = device;
    const times = {whole: [], stretching: [], encoding: [], searching: []};
    async function timed(part, call) {
      const start = performance.now();
      const given = await call();
      times[part].push(performance.now() - start);
      return given;
    }
    for (let each = 0; each < 25; each++) {
      await timed("whole", find);
      const pixels = await timed("stretching", () => squared(held.photo, held.encoder.size));
      const query = await timed("encoding", () => held.encoder.query(pixels));
      await timed("searching", () => search(held.gallery, {...query, labels: []}, 10));
    }
    return times;
  });
}
await browser.close();
console.log(JSON.stringify(found));
