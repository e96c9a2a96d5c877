// Answers queries of many gallery files, for tests of gallery.js and search.js.
//
//   node reader.mjs FOLDER TOP    where FOLDER has queries.json and the files

import {readFileSync, readdirSync} from "node:fs";

import {Gallery, GalleryError, search} from "../../export/edge/web/search.js";

const [folder, top] = process.argv.slice(2);
const {queries} = JSON.parse(readFileSync(`${folder}/answers.json`, "utf8"));
const answers = {};

// Returns what a call gives, or the word of its refusal.
function attempt(call) {
  try {
    return {status: "good", value: call()};
  } catch (error) {
    if (!(error instanceof GalleryError)) throw error;
    return {status: error.word};
  }
}

for (const name of readdirSync(folder)) {
  if (!name.endsWith(".gallery")) continue;
  const file = readFileSync(`${folder}/${name}`);
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
  const opened = attempt(() => new Gallery(bytes));
  const found = [];
  for (const query of opened.value ? queries : []) {
    const {status, value = []} = attempt(() => search(opened.value, query, Number(top)));
    const matches = value.map((each) => [each.id, each.label, each.encoder, each.score, each.rate ?? -1]);
    found.push({status, matches});
  }
  answers[name] = {opened: opened.status, found};
}
console.log(JSON.stringify(answers));
