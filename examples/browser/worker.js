// Runs the model in a worker, so that the page stays responsive.
//
// A classic worker, because LiteRT.js calls `importScripts`; `captioner.js`
// starts it, and imports this module into it.

import {CaptionerError} from "./errors.js";
import {readModelFile} from "./model_file.js";
import {loadAndCompile, loadLiteRt, Tensor} from "./vendor/litert.js";

let model, vocabulary, settings;

const tasks = {load, run, stream};

self.addEventListener("message", async ({data: {id, task, input}}) => {
  try {
    const result = await tasks[task](input, (step) => postMessage({id, step}));
    postMessage({id, result});
  } catch (error) {
    postMessage({id, error: {
      message: error?.message ?? String(error),
      forUser: error instanceof CaptionerError,
    }});
  }
});
postMessage({ready: true});

// Takes the runtime and the model's file as bytes: nothing is fetched here.
async function load({runtime, wasm, file}) {
  ({vocabulary, settings} = await readModelFile(file));
  self.Module = {wasmBinary: wasm};
  await loadLiteRt(new URL(`vendor/${runtime}.js`, import.meta.url).href);
  try {
    model = await loadAndCompile(file, {accelerator: "wasm"});
  } catch (error) {
    throw new CaptionerError(
      `LiteRT.js cannot load this model: ${error?.message ?? error}. ` +
      "It may be damaged: get the file again.");
  }
  checkSignatures();
  return {vocabulary, settings};
}

// Compares the shapes of the tensors with the settings, before anything is run.
function checkSignatures() {
  const {image_size: size, rows, columns, max_words: steps} = settings;
  const locations = rows * columns;
  const image = {image: ["uint8", [1, size, size, 3]]};
  const caption = {
    tokens: ["int32", [1, steps]],
    length: ["int32", [1]],
    log_probability: ["float32", [1]],
    attention: ["float32", [1, steps, locations]],
    gate: ["float32", [1, steps]],
    finished: ["int32", [1]],
  };
  checkSignature("greedy", image, caption);
  checkSignature("beam", image, caption);
  checkSignature("encode", image, {});
  checkSignature("start", {}, {});
  checkSignature("step", {token: ["int32", [1]]}, {
    log_probabilities: ["float32", [1, vocabulary.length]],
    attention: ["float32", [1, locations]],
    gate: ["float32", [1, 1]],
  });
}

function checkSignature(name, inputs, outputs) {
  const signature = model.signatures[name];
  if (!signature) throw mismatch(`it has no signature \`${name}\``);
  for (const [expected, tensors] of [
    [inputs, signature.getInputDetails()], [outputs, signature.getOutputDetails()],
  ]) {
    for (const [tensor, [dtype, shape]] of Object.entries(expected)) {
      const details = tensors.find((one) => one.name === tensor);
      const received = details && `${details.dtype} (${[...details.shape]})`;
      if (received !== `${dtype} (${shape})`) {
        throw mismatch(`\`${tensor}\` of \`${name}\` should be ${dtype} (${shape}), ` +
          `and is ${received ?? "not there"}`);
      }
    }
  }
}

function mismatch(reason) {
  return new CaptionerError(
    `This model and its settings do not fit each other: ${reason}. Export it again.`);
}

// A complete caption in one call, by the signature `greedy` or `beam`.
async function run({pixels, method}) {
  const outputs = await invoke(method, {image: imageTensor(pixels)});
  const length = outputs.length[0], locations = settings.rows * settings.columns;
  const tokens = [...outputs.tokens.subarray(0, length)];
  if (tokens.some((token) => vocabulary[token] === undefined)) {
    throw mismatch(`\`${method}\` answers the tokens ${tokens}`);
  }
  return {
    tokens,
    attention: Array.from({length}, (_, t) =>
      outputs.attention.slice(t * locations, (t + 1) * locations)),
    gate: [...outputs.gate.subarray(0, length)],
    logProbability: outputs.log_probability[0],
    finished: Boolean(outputs.finished[0]),
  };
}

// Greedy decoding step by step; each word is posted as soon as it is generated.
async function stream({pixels}, postStep) {
  const {start, end, max_words: maxWords} = settings;
  const caption = {tokens: [], attention: [], gate: [], logProbability: 0, finished: false};
  const {annotations} = await invoke("encode", {image: imageTensor(pixels)});
  let state = await invoke("start", floatTensors("start", {annotations}));
  let token = start;
  for (;;) {
    const tokenTensor = new Tensor(Int32Array.of(token), [1]);
    const {log_probabilities: scores, attention, gate, hidden, cell} =
      await invoke("step", {...floatTensors("step", state), token: tokenTensor});
    token = scores.reduce((best, score, n) => (score > scores[best] ? n : best), 0);
    caption.finished = token === end;
    if (!caption.finished && caption.tokens.length === maxWords) return caption;
    caption.logProbability += scores[token];
    if (caption.finished) return caption;
    caption.tokens.push(token);
    caption.attention.push(attention);
    caption.gate.push(gate[0]);
    postStep({token, attention, gate: gate[0]});
    state = {...state, hidden, cell};
  }
}

// Runs a signature. Tensors lie outside of JavaScript's memory: the inputs are
// deleted, and the outputs copied.
async function invoke(name, inputs) {
  try {
    const outputs = await model.signatures[name].run(inputs);
    return Object.fromEntries(Object.entries(outputs).map(([output, tensor]) => {
      const values = tensor.toTypedArray();
      tensor.delete();
      return [output, values];
    }));
  } catch (error) {
    throw new CaptionerError(
      `LiteRT.js cannot run this model: ${error?.message ?? error}. Export it again.`);
  } finally {
    for (const tensor of Object.values(inputs)) tensor.delete();
  }
}

function imageTensor(pixels) {
  const {image_size: size} = settings;
  if (!(pixels instanceof Uint8Array) || pixels.length !== size * size * 3) {
    throw new Error(`Expected pixels of uint8 (${size}, ${size}, 3). ` +
      `Received: ${pixels?.constructor?.name} of ${pixels?.length}`);
  }
  return new Tensor(pixels, [1, size, size, 3]);
}

// Float arrays as tensors of the shapes that a signature takes.
function floatTensors(name, arrays) {
  const details = model.signatures[name].getInputDetails();
  return Object.fromEntries(Object.entries(arrays).map(([input, array]) =>
    [input, new Tensor(array, details.find((one) => one.name === input).shape)]));
}
