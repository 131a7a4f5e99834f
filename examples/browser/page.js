// The page: takes a photo, shows its caption and where the model looked.

import {light, placeOf} from "./attention.js";
import {
  Captioner, CaptionerError, closeConnections, decodePhoto, download, seenBox,
} from "./captioner.js";

const MODEL = "../flickr8k.tflite";
const PACE = 650; // milliseconds a word, when played
const SPOKEN_PACE = 380; // where a voice does not say which word it is at
const SHOWN = 800; // pixels of a photo's longer side, as it is shown

const byId = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

let captioner = null;
let photo = null; // what is shown: its pixels for the model, and for the eye
let said = {words: [], done: true};
let turn = 0; // which photo and search this is; answers to older ones are dropped

// ---------------------------------------------------------------- Messages

function tell(text) {
  byId("words").hidden = true;
  byId("message").hidden = false;
  byId("error").textContent = "";
  byId("status").textContent = text;
}

function complain(error) {
  tell("");
  if (!(error instanceof CaptionerError)) console.error(error);
  byId("error").textContent = error instanceof CaptionerError ? error.message
    : `Something went wrong (${error?.message ?? error}). Load the page again.`;
}

// Runs what a user asked for; says what went wrong.
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    complain(error);
  }
}

// ---------------------------------------------------------------- Start

async function start() {
  tell("Loading the captioner …");
  const address = new URLSearchParams(location.search).get("model") ?? MODEL;
  const bar = byId("progress");
  bar.hidden = false;
  try {
    const files = await download(address, (count, all) => {
      if (all) bar.value = count / all;
    });
    closeConnections(); // Before there is any photo.
    captioner = await Captioner.start(files);
  } finally {
    bar.hidden = true;
  }
  const {name, encoder, precision, beam_width: width} = captioner.settings;
  byId("about").textContent = `Model: ${name} (${encoder}, ${precision}). ` +
    `Careful search weighs ${width} captions against each other; word by word takes the ` +
    "likeliest word each time. All of it was loaded before you chose a photo; then this page " +
    "closed its connections.";
  for (const id of ["choose", "open-camera", "methods"]) byId(id).disabled = false;
  tell("Ready. Choose a photo.");
}

// ---------------------------------------------------------------- Photos

// Takes a photo from a promise of its bitmap.
async function take(coming) {
  const mine = ++turn;
  clear();
  tell("Looking …");
  const bitmap = await coming;
  try {
    if (mine !== turn) return;
    show(bitmap);
    await painted();
    photo.pixels = captioner.fit(bitmap);
  } finally {
    bitmap.close();
  }
  await caption();
}

function takeFile(file) {
  if (!captioner) return;
  closeCamera();
  attempt(() => {
    if (!file) {
      throw new CaptionerError("That was no file. Save the photo first, and choose it here.");
    }
    return take(decodePhoto(file));
  });
}

function show(bitmap) {
  const {width, height} = bitmap;
  const scale = Math.min(1, SHOWN / Math.max(width, height));
  const canvases = [byId("photo"), byId("lit")];
  for (const canvas of canvases) {
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.hidden = false;
  }
  const [canvas] = canvases;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", "Your photo");
  byId("welcome").hidden = true;
  byId("frame").classList.remove("empty");
  photo = {
    shown: context.getImageData(0, 0, canvas.width, canvas.height),
    seen: seenBox(height, width, captioner.settings.resize_mode),
  };
}

const painted = () => new Promise((resolve) => {
  // Hidden pages are not painted.
  if (document.hidden) resolve();
  else requestAnimationFrame(() => setTimeout(resolve));
});

// ---------------------------------------------------------------- Captions

async function caption() {
  const mine = ++turn;
  clear();
  tell("Looking …");
  const method = byId("methods").querySelector("input:checked").value;
  const began = performance.now();
  said = {words: [], done: false};
  const result = await captioner.caption(photo.pixels, {method, onWord: (one) => {
    if (mine === turn) addWord(one);
  }});
  if (mine !== turn) return;
  const seconds = (performance.now() - began) / 1000;
  said.done = true;
  for (let t = said.words.length; t < result.words.length; t++) {
    addWord({word: result.words[t], attention: result.attention[t], gate: result.gate[t]});
  }
  finish(result, seconds);
}

function finish({words, logProbability, finished}, seconds) {
  const text = words.join(" ");
  if (!words.length) tell("The model has nothing to say about this photo.");
  const cut = finished ? "" : " …";
  byId("announce").textContent = `Caption: ${text || "none"}${cut}`;
  byId("words").setAttribute("aria-label", `Caption: ${text}`);
  byId("photo").setAttribute("aria-label", `Your photo. Caption: ${text}`);
  byId("facts").textContent = `${seconds.toFixed(1)} s on this device. Log-probability ` +
    `${logProbability.toFixed(1).replace("-", "−")}.${finished ? "" : " Cut off: too long."}`;
  byId("play").disabled = byId("speak").disabled = !words.length;
  if (player?.waiting) step(player.word + 1);
}

function clear() {
  stop();
  said = {words: [], done: true};
  shown = pointed = pinned = null;
  byId("words").replaceChildren();
  byId("words").removeAttribute("aria-label");
  for (const id of ["announce", "told", "facts"]) byId(id).textContent = "";
  byId("lit").classList.remove("on");
  byId("play").disabled = byId("speak").disabled = true;
}

function addWord({word, attention, gate}) {
  const t = said.words.length;
  if (t === 0) {
    byId("message").hidden = true;
    byId("words").hidden = false;
    if (!still.matches) play();
  }
  const {rows, columns} = captioner.settings;
  const place = placeOf(attention, [rows, columns], photo.seen);
  const bar = document.createElement("span");
  bar.className = "gate";
  bar.style.setProperty("--gate", `${100 * gate}%`);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "word";
  button.dir = "auto";
  button.append(word, bar);
  button.tabIndex = t ? -1 : 0;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", `${word}: the model looked ${place}, gate ${gate.toFixed(2)}`);
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") point(t);
  });
  button.addEventListener("focus", () => {
    said.words.forEach(({button}, n) => { button.tabIndex = n === t ? 0 : -1; });
    if (button.matches(":focus-visible")) point(t);
  });
  button.addEventListener("blur", () => point(null));
  button.addEventListener("click", () => pin(t));
  said.words.push({word, attention, place, button});
  byId("words").append(button);
  if (player?.waiting) step(t);
  else button.classList.toggle("later", player !== null);
}

// ------------------------------------------------- Where the model looked

let shown = null, pointed = null, pinned = null;

// A mouse or the keyboard is at a word, or at none.
function point(t) {
  if (t !== null) stop();
  pointed = t;
  update();
}

// A click or a tap keeps a word lit, the next one lets it go.
function pin(t) {
  stop();
  pinned = pinned === t ? null : t;
  pointed = pinned;
  update();
}

function update() {
  said.words.forEach(({button}, t) => button.setAttribute("aria-pressed", String(t === pinned)));
  const playing = player && player.word >= 0 ? player.word : null;
  const t = playing ?? pointed ?? pinned;
  if (t === shown) return;
  shown = t;
  said.words.forEach(({button}, n) => button.classList.toggle("lit", n === t));
  byId("lit").classList.toggle("on", t !== null);
  if (t === null) {
    byId("told").textContent = "";
    return;
  }
  const {word, place, attention} = said.words[t];
  byId("told").textContent = `“${word}”: looked ${place}`;
  const {rows, columns} = captioner.settings;
  byId("lit").getContext("2d").putImageData(
    light(photo.shown, attention, [rows, columns], photo.seen), 0, 0);
}

function key(event) {
  const last = said.words.length - 1;
  const here = said.words.findIndex(({button}) => button === event.target);
  const next = {
    ArrowRight: Math.min(here + 1, last),
    ArrowLeft: Math.max(here - 1, 0),
    Home: 0,
    End: last,
  }[event.key];
  if (event.key === "Escape") {
    stop();
    pinned = pointed = null;
    update();
  } else if (next !== undefined && here >= 0) {
    event.preventDefault();
    stop();
    said.words[next].button.focus();
    point(next);
  }
}

// ---------------------------------------------------------------- Playing

let player = null; // the word that it is at, its timer, its voice

function play(voice = null) {
  stop();
  pinned = pointed = null;
  player = {word: -1, timer: 0, waiting: true, voice};
  const button = byId(voice ? "speak" : "play");
  button.classList.add("on");
  button.textContent = "Stop";
  if (said.words.length) step(0, voice ? SPOKEN_PACE : PACE);
}

// Goes to a word, and on from it. Waits where it has not been said yet.
function step(t, pace = PACE) {
  if (t >= said.words.length) {
    player.waiting = true;
    if (said.done && !player.voice) stop();
    return;
  }
  player.waiting = false;
  player.word = t;
  said.words[t].button.classList.remove("later");
  if (pace) player.timer = setTimeout(step, pace, t + 1, pace);
  update();
}

function stop() {
  if (!player) return;
  const {timer, voice} = player;
  player = null;
  clearTimeout(timer);
  if (voice) speechSynthesis.cancel();
  byId("play").classList.remove("on");
  byId("play").textContent = "Play";
  byId("speak").textContent = "Read aloud";
  for (const {button} of said.words) button.classList.remove("later");
  update();
}

// A voice of this device: others send what they say to a server.
function localVoice() {
  const voices = globalThis.speechSynthesis?.getVoices().filter((one) => one.localService) ?? [];
  return voices.find((one) => one.lang.startsWith(document.documentElement.lang)) ?? voices[0];
}

function speak() {
  const voice = localVoice();
  const words = said.words.map(({word}) => word);
  const utterance = new SpeechSynthesisUtterance(words.join(" "));
  utterance.voice = voice;
  utterance.lang = voice.lang;
  play(utterance);
  const mine = player;
  utterance.addEventListener("boundary", ({charIndex}) => {
    if (player !== mine) return;
    clearTimeout(player.timer);
    step(utterance.text.slice(0, charIndex).split(" ").length - 1, 0);
  });
  for (const event of ["end", "error"]) {
    utterance.addEventListener(event, () => { if (player === mine) stop(); });
  }
  speechSynthesis.speak(utterance);
}

// ---------------------------------------------------------------- The camera

let filming = null; // the camera's stream, or a promise of it

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new CaptionerError(
      "Browsers lend the camera to pages from https:// or localhost only. Choose a file instead.");
  }
  const asked = filming = navigator.mediaDevices.getUserMedia(
    {video: {facingMode: {ideal: "environment"}, width: {ideal: 1280}}});
  let stream;
  try {
    stream = await asked;
  } catch (error) {
    if (filming === asked) filming = null;
    throw new CaptionerError({
      NotAllowedError: "The camera was not allowed. Allow it in the browser's settings for " +
        "this page, or choose a file instead.",
      NotFoundError: "There is no camera here. Choose a file instead.",
      NotReadableError: "The camera is used by something else. Close that, and try again.",
    }[error.name] ?? `The camera does not work (${error.message}). Choose a file instead.`);
  }
  if (filming !== asked) return end(stream);
  turn++;
  clear();
  tell("Point the camera, then take the photo.");
  const video = byId("camera");
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  byId("sources").hidden = true;
  byId("shooting").hidden = false;
  byId("shoot").focus();
}

async function shoot() {
  const video = byId("camera");
  const bitmap = await createImageBitmap(video);
  closeCamera();
  await take(bitmap);
}

function end(stream) {
  for (const track of stream.getTracks()) track.stop();
}

// Lets the camera go: its light goes out.
function closeCamera() {
  if (!filming) return;
  filming = null;
  const video = byId("camera");
  if (!video.srcObject) return;
  end(video.srcObject);
  video.srcObject = null;
  video.hidden = true;
  byId("sources").hidden = false;
  byId("shooting").hidden = true;
  byId("open-camera").focus();
}

function cancelCamera() {
  closeCamera();
  if (photo) attempt(caption);
  else tell("Ready. Choose a photo.");
}

// ---------------------------------------------------------------- Events

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({target}) => {
  if (target.files.length) takeFile(target.files[0]);
  target.value = ""; // So that the same file can be chosen again.
});
byId("open-camera").addEventListener("click", () => attempt(openCamera));
byId("shoot").addEventListener("click", () => attempt(shoot));
byId("close-camera").addEventListener("click", cancelCamera);
byId("play").addEventListener("click", () => (player ? stop() : play()));
byId("speak").addEventListener("click", () => (player?.voice ? stop() : speak()));
byId("methods").addEventListener("change", () => { if (photo?.pixels) attempt(caption); });
byId("words").addEventListener("keydown", key);
byId("words").addEventListener("pointerleave", () => point(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && filming) cancelCamera();
});
document.addEventListener("paste", ({clipboardData}) => {
  if (clipboardData.files.length) takeFile(clipboardData.files[0]);
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    byId("frame").classList.toggle("over", captioner !== null);
  });
}
document.addEventListener("dragleave", ({relatedTarget}) => {
  if (!relatedTarget) byId("frame").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("frame").classList.remove("over");
  takeFile(event.dataTransfer.files[0]);
});
addEventListener("pagehide", () => {
  closeCamera();
  stop();
});
if (globalThis.speechSynthesis) {
  const offer = () => { byId("speak").hidden = !localVoice(); };
  speechSynthesis.addEventListener("voiceschanged", offer);
  offer();
}
byId("frame").classList.add("empty");
attempt(start);
