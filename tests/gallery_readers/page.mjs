// Does on the page of export/edge/web/ what a person does, for page_test.py.
//
//   node page.mjs CHROMIUM ADDRESS FOLDER    where FOLDER has the files; prints what was found as JSON

import {readdirSync} from "node:fs";
import {join} from "node:path";

import {chromium} from "../../export/edge/web/node_modules/playwright-core/index.mjs";

const [program, address, folder] = process.argv.slice(2);
const browser = await chromium.launch({executablePath: program, args: ["--no-sandbox"]});
const context = await browser.newContext({viewport: {width: 390, height: 844}});
const page = await context.newPage();
const found = {errors: [], pixels: {}, embeddings: {}, matches: {}, said: {}};
page.on("pageerror", (error) => found.errors.push(error.message));
page.on("console", (message) => message.type() === "error" && found.errors.push(message.text()));

async function give(id, name) {
  await page.setInputFiles(`#${id}`, join(folder, name));
}

async function says(id, pattern) {
  await page.waitForFunction(([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent), [id, pattern]);
  return page.textContent(`#${id}`);
}

await page.goto(address);
found.said.start = await page.textContent("#verdict");
await give("model", "encoder.tflite");
found.said.model = await says("model-state", "pixels|no model");
await context.setOffline(true); // from here on nothing may be fetched
await give("gallery", "people.gallery");
found.said.gallery = await says("gallery-state", "entries");
for (const name of readdirSync(folder).filter((each) => each.startsWith("photo"))) {
  await give("photo", name);
  const bytes = await page.evaluate(async () => {
    const file = document.getElementById("photo").files[0];
    const {held, decoded, squared} = device;
    const pixels = squared(await decoded(file), held.encoder.size);
    const query = await held.encoder.query(pixels);
    return {pixels: [...pixels], embedding: [...query.embedding]};
  });
  found.pixels[name] = bytes.pixels;
  found.embeddings[name] = bytes.embedding;
  await says("verdict", "entries in");
  const rows = page.locator("#matches li");
  found.matches[name] = await rows.locator(".id").allTextContents();
  found.said[name] = await page.textContent("#verdict");
  found.badges = await rows.locator(".badge").allTextContents();
}
async function only(names, pattern) {
  await page.fill("#only", names);
  await page.keyboard.press("Tab");
  return says("verdict", pattern);
}

found.said.only = await only("photo 7", "1 entry in");
found.only = await page.locator("#matches .id").allTextContents();
found.said.nobody = await only("photo 7, nobody", "nobody");
await only("", "entries in");
found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
await give("gallery", "damaged.gallery");
found.said.damaged = await says("gallery-state", "damaged");
await give("gallery", "stranger.gallery");
found.said.stranger = await says("verdict", "not known to fit");
await give("photo", "letter.txt");
found.said.letter = await says("verdict", "JPEG");

found.focused = [];
await page.evaluate(() => document.activeElement.blur());
for (let each = 0; each < 6; each++) {
  await page.keyboard.press("Tab");
  found.focused.push(await page.evaluate(() => document.activeElement.id));
}
found.unlabelled = await page.evaluate(() => {
  const inputs = [...document.querySelectorAll("input, select, button")];
  const named = (each) => each.labels?.length || each.textContent.trim() || each.getAttribute("aria-label");
  return inputs.filter((each) => !named(each)).map((each) => each.id);
});
await browser.close();
console.log(JSON.stringify(found));
