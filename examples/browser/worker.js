// Runs the model, away from the page, which so stays responsive.
//
// A classic worker, because LiteRT.js calls `importScripts`; `captioner.js`
// starts it, and imports this module into it.

import {CaptionerError} from "./errors.js";
import {readModelFile} from "./model_file.js";
import {loadAndCompile, loadLiteRt, Tensor} from "./vendor/litert.js";

let model, words, settings;

const tasks = {load, run, stream};

self.addEventListener("message", async ({data: {id, task, input}}) => {
  try {
    const result = await tasks[task](input, (word) => postMessage({id, word}));
    postMessage({id, result});
  } catch (error) {
    postMessage({id, error: {
      message: error?.message ?? String(error),
      told: error instanceof CaptionerError,
    }});
  }
});
postMessage({ready: true});

// Takes the runtime and the model's file as bytes: nothing is fetched here.
async function load({runtime, wasm, file}) {
  ({words, settings} = readModelFile(file));
  self.Module = {wasmBinary: wasm};
  await loadLiteRt(new URL(`vendor/${runtime}.js`, import.meta.url).href);
  try {
    model = await loadAndCompile(file, {accelerator: "wasm"});
  } catch (error) {
    throw new CaptionerError(
      `LiteRT.js cannot load this model: ${error?.message ?? error}. ` +
      "It may be damaged: get the file anew.");
  }
  checkSignatures();
  return {words, settings};
}

// Asks for the shapes that the settings announce, before anything is run.
function checkSignatures() {
  const {image_size: size, rows, columns, max_words: most} = settings;
  const locations = rows * columns;
  const image = {image: ["uint8", [1, size, size, 3]]};
  const caption = {
    tokens: ["int32", [1, most]],
    length: ["int32", [1]],
    log_probability: ["float32", [1]],
    attention: ["float32", [1, most, locations]],
    gate: ["float32", [1, most]],
    finished: ["int32", [1]],
  };
  expect("greedy", image, caption);
  expect("beam", image, caption);
  expect("encode", image, {});
  expect("start", {}, {});
  expect("step", {token: ["int32", [1]]}, {
    log_probabilities: ["float32", [1, words.length]],
    attention: ["float32", [1, locations]],
    gate: ["float32", [1, 1]],
  });
}

function expect(name, inputs, outputs) {
  const signature = model.signatures[name];
  if (!signature) throw unfit(`it has no signature \`${name}\``);
  for (const [expected, found] of [
    [inputs, signature.getInputDetails()], [outputs, signature.getOutputDetails()],
  ]) {
    for (const [tensor, [dtype, shape]] of Object.entries(expected)) {
      const details = found.find((one) => one.name === tensor);
      const received = details && `${details.dtype} (${[...details.shape]})`;
      if (received !== `${dtype} (${shape})`) {
        throw unfit(`\`${tensor}\` of \`${name}\` should be ${dtype} (${shape}), ` +
          `and is ${received ?? "not there"}`);
      }
    }
  }
}

function unfit(reason) {
  return new CaptionerError(
    `This model and its settings do not fit each other: ${reason}. Export it again.`);
}

// A whole caption in one go, by the signature `greedy` or `beam`.
async function run({pixels, method}) {
  const found = await invoke(method, {image: image(pixels)});
  const length = found.length[0], locations = settings.rows * settings.columns;
  return {
    tokens: [...found.tokens.subarray(0, length)],
    attention: Array.from({length}, (_, t) =>
      found.attention.slice(t * locations, (t + 1) * locations)),
    gate: [...found.gate.subarray(0, length)],
    logProbability: found.log_probability[0],
    finished: Boolean(found.finished[0]),
  };
}

// Word by word: the likeliest one each time, told as soon as it is known.
async function stream({pixels}, tell) {
  const {start, end, max_words: most} = settings;
  const said = {tokens: [], attention: [], gate: [], logProbability: 0, finished: false};
  const {annotations} = await invoke("encode", {image: image(pixels)});
  let state = await invoke("start", floats("start", {annotations}));
  let token = start;
  for (;;) {
    const {log_probabilities: table, attention, gate, hidden, cell} =
      await invoke("step", {...floats("step", state), token: new Tensor(Int32Array.of(token), [1])});
    token = table.reduce((best, value, n) => (value > table[best] ? n : best), 0);
    said.finished = token === end;
    if (!said.finished && said.tokens.length === most) return said;
    said.logProbability += table[token];
    if (said.finished) return said;
    said.tokens.push(token);
    said.attention.push(attention);
    said.gate.push(gate[0]);
    tell({token, attention, gate: gate[0]});
    state = {...state, hidden, cell};
  }
}

// Runs a signature. Tensors lie outside of JavaScript's memory: those that are
// given are let go, and what comes out is copied.
async function invoke(name, inputs) {
  try {
    const outputs = await model.signatures[name].run(inputs);
    return Object.fromEntries(Object.entries(outputs).map(([output, tensor]) => {
      const values = tensor.toTypedArray();
      tensor.delete();
      return [output, values];
    }));
  } finally {
    for (const tensor of Object.values(inputs)) tensor.delete();
  }
}

function image(pixels) {
  const {image_size: size} = settings;
  if (!(pixels instanceof Uint8Array) || pixels.length !== size * size * 3) {
    throw new Error(`Expected pixels of uint8 (${size}, ${size}, 3). ` +
      `Received: ${pixels?.constructor?.name} of ${pixels?.length}`);
  }
  return new Tensor(pixels, [1, size, size, 3]);
}

// Values as tensors of the shapes that a signature takes.
function floats(name, values) {
  const found = model.signatures[name].getInputDetails();
  return Object.fromEntries(Object.entries(values).map(([input, array]) =>
    [input, new Tensor(array, found.find((one) => one.name === input).shape)]));
}
