// What is on the page: model, gallery and photo in, matches out.

import {Encoder} from "./encoder.js";
import {decoded, pixelsOf, squared} from "./photo.js";
import {Gallery, search} from "./search.js";

const TOP = 10;
const element = (id) => document.getElementById(id);
const held = {encoder: null, gallery: null, photo: null};

function say(id, text, kind = "") {
  element(id).textContent = text;
  element(id).className = `state ${kind}`;
}

async function openModel(bytes, name) {
  say("model-state", `Loading ${name} ...`);
  held.encoder = null;
  try {
    const accelerator = new URLSearchParams(location.search).get("accelerator") ?? "wasm";
    held.encoder = await Encoder.load(bytes, accelerator);
    const {size, fingerprint} = held.encoder;
    say("model-state", `${name}: ${size} x ${size} pixels, ${fingerprint.slice(0, 12)}`, "good");
  } catch (error) {
    say("model-state", error.message, "bad");
  }
  await find();
}

async function openGallery(bytes, name) {
  say("gallery-state", `Reading ${name} ...`);
  held.gallery = null;
  try {
    held.gallery = new Gallery(bytes);
    say("gallery-state", `${name}: ${held.gallery.entries.toLocaleString("en")} entries, every checksum holds`, "good");
  } catch (error) {
    say("gallery-state", error.message, "bad");
  }
  await find();
}

function show(source) {
  stopCamera();
  const shown = element("shown");
  if (shown.src) URL.revokeObjectURL(shown.src);
  shown.src = URL.createObjectURL(source);
  shown.hidden = false;
  element("hint").hidden = true;
}

async function openPhoto(file) {
  try {
    held.photo = await decoded(file);
    show(file);
  } catch (error) {
    held.photo = null;
    refuse(error.message);
    return;
  }
  await find();
}

function refuse(text) {
  element("matches").replaceChildren();
  element("verdict").textContent = text;
  element("verdict").className = "verdict refused";
}

function missing() {
  const wanted = [];
  if (!held.encoder) wanted.push("a model");
  if (!held.gallery) wanted.push("a gallery");
  if (!held.photo) wanted.push("a photo");
  if (!wanted.length) return "";
  const last = wanted.pop();
  return `Choose ${wanted.length ? `${wanted.join(", ")} and ${last}` : last}.`;
}

// Returns the names that are to be searched alone; a name may have a comma in it.
function onlyLabels() {
  const typed = element("only").value.trim();
  if (!typed) return [];
  if (held.gallery.numbersOf(typed).length) return [typed];
  return typed.split(",").map((name) => name.trim()).filter(Boolean);
}

// Returns how many entries have one of the labels; raises where none has one, which may be misspelt.
function countOf(labels) {
  if (!labels.length) return held.gallery.entries;
  const counts = new Map(labels.map((label) => [label, held.gallery.numbersOf(label).length]));
  for (const [label, count] of counts) {
    if (!count) throw new Error(`The gallery has no entry with the name ${label}.`);
  }
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

async function find() {
  document.querySelector("main").classList.toggle("new", !held.encoder || !held.gallery);
  element("verdict").className = "verdict";
  const wanted = missing();
  if (wanted) {
    element("matches").replaceChildren();
    element("verdict").textContent = wanted;
    return;
  }
  try {
    const start = performance.now();
    const labels = onlyLabels();
    const count = countOf(labels);
    const query = await held.encoder.query(squared(held.photo, held.encoder.size));
    const matches = search(held.gallery, {...query, labels}, TOP);
    list(matches, count, performance.now() - start);
  } catch (error) {
    refuse(error.message);
  }
}

function node(tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function oneIn(rate) {
  if (rate >= 0.1) return `${Math.round(rate * 100)} in 100`;
  return `1 in ${Number((1 / rate).toPrecision(2)).toLocaleString("en")}`;
}

function list(matches, count, milliseconds) {
  const far = Number(element("far").value);
  const rows = matches.map((match, place) => {
    const row = document.createElement("li");
    const isMatch = match.rate !== null && match.rate <= far;
    const word = match.rate === null ? "not known" : isMatch ? "match" : "no match";
    const numbers = match.rate === null ? match.score.toFixed(4) : `${match.score.toFixed(4)}, ${oneIn(match.rate)}`;
    const bar = node("div", "bar", "");
    const filled = document.createElement("span");
    filled.style.width = `${Math.max(match.score, 0) * 100}%`;
    bar.append(filled);
    bar.setAttribute("aria-hidden", "true");
    row.append(
      node("span", "place", place + 1),
      node("span", "label", match.label || "without a name"),
      node("span", `badge ${isMatch ? "match" : ""}`, word),
      node("span", "id", match.id),
      node("span", "numbers", numbers),
      bar,
    );
    return row;
  });
  element("matches").replaceChildren(...rows);
  const [best] = matches;
  const verdict = element("verdict");
  const entries = count === 1 ? "1 entry" : `${count.toLocaleString("en")} entries`;
  const took = `(${entries} in ${milliseconds.toFixed(0)} ms)`;
  if (!best) verdict.textContent = "The gallery has no entries.";
  else if (best.rate === null) verdict.textContent = `Most like ${best.label}. No report says from which score on it is a match ${took}.`;
  else if (best.rate <= far) verdict.textContent = `Match: ${best.label} ${took}`;
  else verdict.textContent = `No match at ${oneIn(far)} false accepts ${took}.`;
  if (best && best.rate !== null && best.rate <= far) verdict.classList.add("match");
}

function stopCamera() {
  const video = element("video");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  video.hidden = true;
  element("camera").textContent = "Use camera";
}

async function useCamera() {
  const video = element("video");
  if (video.srcObject) {
    held.photo = pixelsOf(video, video.videoWidth, video.videoHeight);
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    show(await canvas.convertToBlob());
    await find();
    return;
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({video: true});
  } catch {
    refuse("There is no camera that this page may use.");
    return;
  }
  element("shown").hidden = true;
  element("hint").hidden = true;
  video.hidden = false;
  await video.play();
  element("camera").textContent = "Take photo";
}

function on(id, call) {
  element(id).addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) await call(file);
  });
}

on("model", async (file) => openModel(await file.arrayBuffer(), file.name));
on("gallery", async (file) => openGallery(await file.arrayBuffer(), file.name));
on("photo", openPhoto);
element("far").addEventListener("change", find);
element("only").addEventListener("change", find);
element("camera").addEventListener("click", useCamera);
const drop = element("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) openPhoto(event.dataTransfer.files[0]);
  });
}

// Chooses a rate of false accepts, which need not be among those that stand there.
function chooseRate(far) {
  const rates = element("far");
  const there = [...rates.options].find((option) => Number(option.value) === far);
  if (!there) rates.append(new Option(oneIn(far), far));
  rates.value = there?.value ?? String(far);
}

// Opens what `gallery bundle` has put beside the page; bundle.json names nothing where there is none.
async function openBundle() {
  const bundle = await (await fetch("bundle.json")).json();
  const read = async (name) => (await fetch(name)).arrayBuffer();
  if (bundle.far) chooseRate(bundle.far);
  await Promise.all([
    bundle.gallery && read(bundle.gallery).then((bytes) => openGallery(bytes, bundle.gallery)),
    bundle.model && read(bundle.model).then((bytes) => openModel(bytes, bundle.model)),
  ]);
}

document.querySelector("main").classList.add("new");
await openBundle();
// For tests, and for whoever looks at the page by the browser's console.
globalThis.device = {held, decoded, squared, search, Gallery, find};
