// The page: takes a photo, shows its caption and the attention of each word.

import {describeAttention, drawBox, renderAttention} from "./attention.js";
import {
  Captioner, CaptionerError, closeConnections, decodePhoto, download, seenBox,
} from "./captioner.js";
import {groundPhrases} from "./phrases.js";
import {joinWords} from "./words.js";

const MODEL = "../../savedmodels/flickr8k.tflite";
const WORD_MS = 650; // of each word, when the caption is played
const SPOKEN_WORD_MS = 380; // where a voice does not report its position
const MAX_SHOWN = 800; // pixels of a photo's longer side, as it is shown

const byId = (id) => document.getElementById(id);
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const noCaption = () => ({words: [], phrases: [], complete: true});
const percent = (share) => `${Math.round(100 * share)} %`;

let captioner = null;
let photo = null; // the current one: its pixels for the model and for the eye
let caption = noCaption();
let turn = 0; // number of the photo and search; results of older ones are dropped

// ---------------------------------------------------------------- Messages

function showStatus(text) {
  byId("words").hidden = true;
  byId("message").hidden = false;
  byId("error").textContent = "";
  byId("status").textContent = text;
}

function showError(error) {
  showStatus("");
  if (!(error instanceof CaptionerError)) console.error(error);
  byId("error").textContent = error instanceof CaptionerError ? error.message
    : `Something went wrong (${error?.message ?? error}). Load the page again.`;
}

// Runs what a user asked for; shows what went wrong.
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    showError(error);
  }
}

// ---------------------------------------------------------------- Start

async function start() {
  showStatus("Loading the captioner …");
  const address = new URLSearchParams(location.search).get("model") ?? MODEL;
  const bar = byId("progress");
  bar.hidden = false;
  try {
    const files = await download(address, (count, total) => {
      if (total) bar.value = count / total;
    });
    closeConnections(); // Before there is any photo.
    captioner = await Captioner.start(files);
  } finally {
    bar.hidden = true;
  }
  const {name, encoder, precision, beam_width: width} = captioner.settings;
  byId("about").textContent = `Model: ${name} (${encoder}, ${precision}). ` +
    `Careful search compares ${width} captions with each other; word by word takes the ` +
    "likeliest word each time. All of it was loaded before you chose a photo; then this page " +
    "closed its connections.";
  for (const id of ["choose", "open-camera", "methods"]) byId(id).disabled = false;
  showStatus("Ready. Choose a photo.");
}

// ---------------------------------------------------------------- Photos

// Takes a photo from a promise of its bitmap.
async function takePhoto(promise) {
  const mine = ++turn;
  clearCaption();
  showStatus("Captioning …");
  const bitmap = await promise;
  try {
    if (mine !== turn) return;
    showPhoto(bitmap);
    await painted();
    photo.pixels = captioner.fit(bitmap);
  } finally {
    bitmap.close();
  }
  await captionPhoto();
}

function takeFile(file) {
  if (!captioner) return;
  closeCamera();
  attempt(() => {
    if (!file) {
      throw new CaptionerError("That was no file. Save the photo first, and choose it here.");
    }
    return takePhoto(decodePhoto(file));
  });
}

function showPhoto(bitmap) {
  const {width, height} = bitmap;
  const scale = Math.min(1, MAX_SHOWN / Math.max(width, height));
  const canvas = byId("photo");
  for (const one of [canvas, byId("overlay")]) {
    one.width = Math.max(1, Math.round(width * scale));
    one.height = Math.max(1, Math.round(height * scale));
    one.hidden = false;
  }
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

async function captionPhoto() {
  const mine = ++turn;
  clearCaption();
  showStatus("Captioning …");
  const method = byId("methods").querySelector("input:checked").value;
  const started = performance.now();
  caption = {...noCaption(), complete: false};
  const result = await captioner.caption(photo.pixels, {method, onWord: (step) => {
    if (mine === turn) addWord(step);
  }});
  if (mine !== turn) return;
  const seconds = (performance.now() - started) / 1000;
  caption.complete = true;
  for (let t = caption.words.length; t < result.words.length; t++) {
    addWord({word: result.words[t], attention: result.attention[t], gate: result.gate[t]});
  }
  groundPhrases(result.words, result.attention, grid()).forEach(addPhrase);
  showResult(result, seconds);
}

function showResult({words, logProbability, finished}, seconds) {
  const {text} = joinWords(words);
  if (!words.length) showStatus("The model generated no caption for this photo.");
  const cut = finished ? "" : " …";
  byId("announcement").textContent = `Caption: ${text || "none"}${cut}`;
  byId("words").setAttribute("aria-label", `Caption: ${text}`);
  byId("photo").setAttribute("aria-label", `Your photo. Caption: ${text}`);
  byId("facts").textContent = `${seconds.toFixed(1)} s on this device. Log-probability ` +
    `${logProbability.toFixed(1).replace("-", "−")}.${finished ? "" : " Cut off: too long."}`;
  byId("play").disabled = byId("speak").disabled = !words.length;
  if (player?.waiting) playWord(player.word + 1);
}

function clearCaption() {
  stop();
  caption = noCaption();
  shown = hovered = pinned = null;
  byId("words").replaceChildren();
  byId("phrases").replaceChildren();
  byId("words").removeAttribute("aria-label");
  for (const id of ["announcement", "description", "facts"]) byId(id).textContent = "";
  byId("overlay").classList.remove("on");
  byId("play").disabled = byId("speak").disabled = true;
}

function addWord({word, attention, gate}) {
  const t = caption.words.length;
  if (t === 0) {
    byId("message").hidden = true;
    byId("words").hidden = false;
    if (!reducedMotion.matches) play();
  }
  const region = describeAttention(attention, grid(), photo.seen);
  const button = wordButton(word, gate, t);
  button.setAttribute("aria-label", `${word}: the model looked ${region}, gate ${gate.toFixed(2)}`);
  caption.words.push({attention, word, button, description: `“${word}”: looked ${region}`});
  byId("words").append(button);
  if (player?.waiting) playWord(t);
  else button.classList.toggle("pending", player !== null);
}

function addPhrase({start, stop, weights, box, share}) {
  const {text} = joinWords(caption.words.slice(start, stop).map(({word}) => word));
  const region = describeAttention(weights, grid(), photo.seen);
  const button = partButton("phrase", caption.words.length + caption.phrases.length);
  const description = `${percent(share)} of its attention in the box`;
  button.textContent = text;
  button.setAttribute("aria-label", `${text}: the model looked ${region}, ${description}`);
  caption.phrases.push({box, button, description: `“${text}”: ${description}`});
  byId("phrases").append(button);
}

function wordButton(word, gate, t) {
  const bar = document.createElement("span");
  bar.className = "gate";
  bar.style.setProperty("--gate", `${100 * gate}%`);
  const button = partButton("word", t);
  button.append(word, bar);
  return button;
}

// The words, and after them the phrases, by number.
const parts = () => [...caption.words, ...caption.phrases];

function partButton(className, t) {
  const button = document.createElement("button");
  Object.assign(button, {
    type: "button", className, dir: "auto", tabIndex: t ? -1 : 0, ariaPressed: "false",
  });
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") hover(t);
  });
  button.addEventListener("focus", () => {
    parts().forEach(({button}, n) => { button.tabIndex = n === t ? 0 : -1; });
    if (button.matches(":focus-visible")) hover(t);
  });
  button.addEventListener("blur", () => hover(null));
  button.addEventListener("click", () => pin(t));
  return button;
}

const grid = () => [captioner.settings.rows, captioner.settings.columns];

// ------------------------------------------------- The attention of a word

let shown = null, hovered = null, pinned = null; // numbers of words and phrases

// A mouse or the keyboard is at a word or phrase, or at none.
function hover(t) {
  if (t !== null) stop();
  hovered = t;
  update();
}

// A click or a tap keeps what is shown of a word, the next one hides it.
function pin(t) {
  stop();
  pinned = hovered = pinned === t ? null : t;
  update();
}

function update() {
  parts().forEach(({button}, t) => { button.ariaPressed = String(t === pinned); });
  const played = player && player.word >= 0 ? player.word : null;
  const t = played ?? hovered ?? pinned;
  if (t === shown) return;
  shown = t;
  parts().forEach(({button}, n) => button.classList.toggle("active", n === t));
  byId("overlay").classList.toggle("on", t !== null);
  byId("description").textContent = "";
  if (t === null) return;
  const {description, attention, box} = parts()[t];
  byId("description").textContent = description;
  const pen = byId("overlay").getContext("2d");
  if (box) drawBox(pen, box, photo.seen);
  else pen.putImageData(renderAttention(photo.shown, attention, grid(), photo.seen), 0, 0);
}

function handleKey(event) {
  const last = parts().length - 1;
  const current = parts().findIndex(({button}) => button === event.target);
  const next = {
    ArrowRight: Math.min(current + 1, last),
    ArrowLeft: Math.max(current - 1, 0),
    Home: 0,
    End: last,
  }[event.key];
  if (event.key === "Escape") {
    stop();
    pinned = hovered = null;
    update();
  } else if (next !== undefined && current >= 0) {
    event.preventDefault();
    stop();
    parts()[next].button.focus();
    hover(next);
  }
}

// ---------------------------------------------------------------- Playing

let player = null; // the current word, its timer, its voice

function play(voice = null) {
  stop();
  pinned = hovered = null;
  player = {word: -1, timer: 0, waiting: true, voice};
  const button = byId(voice ? "speak" : "play");
  button.classList.add("on");
  button.textContent = "Stop";
  if (caption.words.length) playWord(0, voice ? SPOKEN_WORD_MS : WORD_MS);
}

// Goes to a word, and on to the next. Waits where it is not generated yet.
function playWord(t, milliseconds = WORD_MS) {
  if (t >= caption.words.length) {
    player.waiting = true;
    if (caption.complete && !player.voice) stop();
    return;
  }
  player.waiting = false;
  player.word = t;
  caption.words[t].button.classList.remove("pending");
  if (milliseconds) player.timer = setTimeout(playWord, milliseconds, t + 1, milliseconds);
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
  for (const {button} of caption.words) button.classList.remove("pending");
  update();
}

// A voice of this device: others send the text to a server.
function localVoice() {
  const voices = globalThis.speechSynthesis?.getVoices().filter((one) => one.localService) ?? [];
  return voices.find((one) => one.lang.startsWith(document.documentElement.lang)) ?? voices[0];
}

function speak() {
  const voice = localVoice();
  const {text, starts} = joinWords(caption.words.map(({word}) => word));
  const utterance = new SpeechSynthesisUtterance(text);
  utterance.voice = voice;
  utterance.lang = voice.lang;
  play(utterance);
  const mine = player;
  utterance.addEventListener("boundary", ({charIndex}) => {
    if (player !== mine) return;
    clearTimeout(player.timer);
    playWord(starts.findLastIndex((start) => start <= charIndex), 0);
  });
  for (const event of ["end", "error"]) {
    utterance.addEventListener(event, () => { if (player === mine) stop(); });
  }
  speechSynthesis.speak(utterance);
}

// ---------------------------------------------------------------- The camera

let recording = null; // the camera's stream, or a promise of it

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new CaptionerError(
      "Browsers lend the camera to pages from https:// or localhost only. Choose a file instead.");
  }
  const request = recording = navigator.mediaDevices.getUserMedia(
    {video: {facingMode: {ideal: "environment"}, width: {ideal: 1280}}});
  let stream;
  try {
    stream = await request;
  } catch (error) {
    if (recording === request) recording = null;
    throw new CaptionerError({
      NotAllowedError: "The camera was not allowed. Allow it in the browser's settings for " +
        "this page, or choose a file instead.",
      NotFoundError: "There is no camera here. Choose a file instead.",
      NotReadableError: "The camera is used by something else. Close that, and try again.",
    }[error.name] ?? `The camera does not work (${error.message}). Choose a file instead.`);
  }
  if (recording !== request) return endStream(stream);
  turn++;
  clearCaption();
  showStatus("Point the camera, then take the photo.");
  const video = byId("camera");
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  byId("sources").hidden = true;
  byId("shooting").hidden = false;
  byId("shoot").focus();
}

async function shoot() {
  const bitmap = await createImageBitmap(byId("camera"));
  closeCamera();
  await takePhoto(bitmap);
}

function endStream(stream) {
  for (const track of stream.getTracks()) track.stop();
}

// Releases the camera: its light goes out.
function closeCamera() {
  if (!recording) return;
  recording = null;
  const video = byId("camera");
  if (!video.srcObject) return;
  endStream(video.srcObject);
  video.srcObject = null;
  video.hidden = true;
  byId("sources").hidden = false;
  byId("shooting").hidden = true;
  byId("open-camera").focus();
}

function cancelCamera() {
  closeCamera();
  if (photo) attempt(captionPhoto);
  else showStatus("Ready. Choose a photo.");
}

// ---------------------------------------------------------------- Events

function onClick(id, action) {
  byId(id).addEventListener("click", action);
}

onClick("choose", () => byId("file").click());
byId("file").addEventListener("change", ({target}) => {
  if (target.files.length) takeFile(target.files[0]);
  target.value = ""; // So that the same file can be chosen again.
});
onClick("open-camera", () => attempt(openCamera));
onClick("shoot", () => attempt(shoot));
onClick("close-camera", cancelCamera);
onClick("play", () => (player ? stop() : play()));
onClick("speak", () => (player?.voice ? stop() : speak()));
byId("methods").addEventListener("change", () => { if (photo?.pixels) attempt(captionPhoto); });
for (const id of ["words", "phrases"]) {
  byId(id).addEventListener("keydown", handleKey);
  byId(id).addEventListener("pointerleave", () => hover(null));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && recording) cancelCamera();
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
  const updateVoices = () => { byId("speak").hidden = !localVoice(); };
  speechSynthesis.addEventListener("voiceschanged", updateVoices);
  updateVoices();
}
byId("frame").classList.add("empty");
attempt(start);
