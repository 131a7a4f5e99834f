// Captions photos in the browser: the part that other pages can use too.
//
//     const files = await download("../../savedmodels/flickr8k.tflite");
//     const captioner = await Captioner.start(files);
//     const {words, attention} = await captioner.caption(
//       captioner.fit(await decodePhoto(file)));

import {CaptionerError} from "./errors.js";
import {decodePhoto, fitBitmap, fitImage, seenBox} from "./image.js";
import {MAX_BYTES} from "./model_file.js";

export {CaptionerError, decodePhoto, fitBitmap, fitImage, seenBox};

// A function with an instruction of relaxed SIMD, which not all browsers support.
const RELAXED_SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13,
  0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11);

/**
 * Fetches the model and LiteRT's runtime; nothing else is ever fetched.
 *
 * @param {string|URL} model Address of a captioner's .tflite file.
 * @param {function(number, number)=} onProgress Called with how many bytes were
 *     received, and the total, or `NaN` where the server does not send it.
 * @return {Promise<Object>} For `Captioner.start`.
 * @throws {CaptionerError} One of them cannot be fetched.
 */
export async function download(model, onProgress = () => {}) {
  const runtime = WebAssembly.validate(RELAXED_SIMD)
    ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const sources = [
    [new URL(model, document.baseURI),
      "Put a captioner's .tflite file there, or name another by ?model=."],
    [new URL(`vendor/${runtime}.wasm`, import.meta.url),
      "Run `npm ci` in the folder of this page, which puts LiteRT.js there."],
  ];
  const counts = sources.map(() => [0, NaN]);
  const total = (n) => counts.reduce((sum, count) => sum + count[n], 0);
  const [file, wasm] = await Promise.all(sources.map(([address, help], n) =>
    fetchBytes(address, help, (...count) => {
      counts[n] = count;
      onProgress(total(0), total(1));
    })));
  return {runtime, wasm, file};
}

async function fetchBytes(address, help, onProgress) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new CaptionerError(`${address} cannot be reached, or is elsewhere. ${help}`);
  }
  if (!response.ok) {
    throw new CaptionerError(`${address} is not there (${response.status}). ${help}`);
  }
  const expected = Number(response.headers.get("Content-Length") ?? NaN);
  const chunks = [];
  let size = 0;
  try {
    const reader = response.body.getReader();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
      chunks.push(value);
      size += value.length;
      if (size > MAX_BYTES) {
        await reader.cancel();
        throw new CaptionerError(
          `${address} has more than ${MAX_BYTES / 2 ** 20} MB, and is no captioner for browsers.`);
      }
      onProgress(size, expected);
    }
  } catch (error) {
    if (error instanceof CaptionerError) throw error;
    throw new CaptionerError("The connection broke off. Load the page again.");
  }
}

/**
 * Forbids every connection from now on, to the page's server as well.
 *
 * Policies only ever add up: no script can take this one back. Workers that are
 * started from a blob, as `Captioner.start` does, inherit it.
 */
export function closeConnections() {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "connect-src 'none'";
  document.head.append(policy);
}

/** A captioner that runs in a worker. */
export class Captioner {
  #worker;
  #requests = new Map();
  #count = 0;

  /**
   * @param {Object} files What `download` returned; not to be used again.
   * @return {Promise<Captioner>}
   * @throws {CaptionerError} The model is not one that this page can use.
   */
  static async start({runtime, wasm, file}) {
    const captioner = new Captioner();
    await captioner.#startWorker();
    const {vocabulary, settings} = await captioner.#request(
      "load", {runtime, wasm, file}, [wasm.buffer, file.buffer]);
    /** Words by token. */
    captioner.vocabulary = vocabulary;
    /** The content of `captioner.json`. */
    captioner.settings = settings;
    return captioner;
  }

  /** Resizes a decoded photo to the input of `caption`. */
  fit(bitmap) {
    return fitBitmap(bitmap, this.settings.image_size, this.settings.resize_mode);
  }

  /**
   * Captions an image.
   *
   * @param {Uint8Array} pixels RGB, row by row, of the model's size; see `fit`.
   * @param {{method: string, onWord: function(Object)}=} options `method` is
   *     `"beam"`, `"greedy"` (both in one call) or `"stream"` (the words of
   *     greedy, each given to `onWord` as soon as it is generated: `token`,
   *     `word`, `attention` and `gate`).
   * @return {Promise<Object>} `tokens`, `words`, `attention` (for each word
   *     Float32Array of `rows * columns`), `gate` (for each word how much it
   *     relied on the image), `logProbability` and `finished`.
   */
  async caption(pixels, {method = "beam", onWord = () => {}} = {}) {
    const {min_words: minWords, no_repeat_ngram_size: ngramSize} = this.settings;
    // A step does not know the words before the last.
    if (method === "stream" && (minWords > 1 || ngramSize > 0)) method = "greedy";
    const caption = await this.#request(
      method === "stream" ? "stream" : "run", {pixels, method}, [],
      (step) => onWord({...step, word: this.vocabulary[step.token]}));
    return {...caption, words: caption.tokens.map((token) => this.vocabulary[token])};
  }

  /** Ends the worker. */
  close() {
    this.#worker.terminate();
  }

  // A worker from a file would not inherit the page's policy, one from a blob does.
  #startWorker() {
    const address = JSON.stringify(new URL("worker.js", import.meta.url).href);
    const source = `import(${address}).catch(
      (error) => postMessage({failed: String(error)}));`;
    const blob = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    this.#worker = new Worker(blob);
    return new Promise((resolve, reject) => {
      const fail = (reason) => {
        const error = new CaptionerError(
          `The captioner could not be started (${reason}). Run \`npm ci\` in the ` +
          "folder of this page if that was not done, or use a newer browser.");
        for (const {reject} of this.#requests.values()) reject(error);
        this.#requests.clear();
        reject(error);
      };
      this.#worker.addEventListener("error", (event) => {
        event.preventDefault();
        fail(event.message ?? "unknown");
      });
      this.#worker.addEventListener("message", ({data}) => {
        if (data.ready || data.failed) URL.revokeObjectURL(blob);
        if (data.ready) resolve();
        else if (data.failed) fail(data.failed);
        else this.#receive(data);
      });
    });
  }

  #request(task, input, transfer = [], onStep = null) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#requests.set(id, {resolve, reject, onStep});
      this.#worker.postMessage({id, task, input}, transfer);
    });
  }

  #receive({id, step, result, error}) {
    const {resolve, reject, onStep} = this.#requests.get(id);
    if (step) return onStep(step);
    this.#requests.delete(id);
    if (!error) return resolve(result);
    reject(error.forUser ? new CaptionerError(error.message) : new Error(error.message));
  }
}
