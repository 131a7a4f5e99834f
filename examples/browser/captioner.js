// Captions photos in the browser: the part that other pages can use too.
//
//     const files = await download("../flickr8k.tflite");
//     const captioner = await Captioner.start(files);
//     const {words, attention} = await captioner.caption(
//       captioner.fit(await decodePhoto(file)));

import {CaptionerError} from "./errors.js";
import {decodePhoto, fitBitmap, fitImage, seenBox} from "./image.js";
import {MOST_BYTES} from "./model_file.js";

export {CaptionerError, decodePhoto, fitBitmap, fitImage, seenBox};

// A function with an instruction of relaxed SIMD, which not all browsers know.
const RELAXED_SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13,
  0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11);

/**
 * Fetches the model and LiteRT's runtime: all that is ever fetched.
 *
 * @param {string|URL} model Address of a captioner's .tflite file.
 * @param {function(number, number)=} progress Called with how many bytes came,
 *     and how many there are, or `NaN` where the server does not say.
 * @return {Promise<Object>} For `Captioner.start`.
 * @throws {CaptionerError} One of them cannot be had.
 */
export async function download(model, progress = () => {}) {
  const runtime = WebAssembly.validate(RELAXED_SIMD)
    ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const addresses = [new URL(model, document.baseURI),
    new URL(`vendor/${runtime}.wasm`, import.meta.url)];
  const counts = addresses.map(() => [0, NaN]);
  const told = () => progress(...[0, 1].map((n) =>
    counts.reduce((sum, count) => sum + count[n], 0)));
  const helps = [
    "Put a captioner's .tflite file there, or name another by ?model=.",
    "Run `npm ci` in the folder of this page, which puts LiteRT.js there.",
  ];
  const [file, wasm] = await Promise.all(addresses.map((address, n) =>
    fetchBytes(address, helps[n], (...count) => {
      counts[n] = count;
      told();
    })));
  return {runtime, wasm, file};
}

async function fetchBytes(address, help, progress) {
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
    for (const reader = response.body.getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) break;
      chunks.push(value);
      size += value.length;
      if (size > MOST_BYTES) {
        await reader.cancel();
        throw new CaptionerError(
          `${address} has more than ${MOST_BYTES / 2 ** 20} MB, and is no captioner for browsers.`);
      }
      progress(size, expected);
    }
  } catch (error) {
    if (error instanceof CaptionerError) throw error;
    throw new CaptionerError(`The connection broke off. Load the page again.`);
  }
  const bytes = new Uint8Array(size);
  let filled = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  return bytes;
}

/**
 * Forbids every connection from now on, to the page's own server as well.
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

/** A captioner that runs in a worker of its own. */
export class Captioner {
  #worker;
  #waiting = new Map();
  #count = 0;

  /**
   * @param {Object} files What `download` gave; not to be used again.
   * @return {Promise<Captioner>}
   * @throws {CaptionerError} The model is not one that this page can use.
   */
  static async start({runtime, wasm, file}) {
    const captioner = new Captioner();
    await captioner.#begin();
    const about = await captioner.#ask(
      "load", {runtime, wasm, file}, [wasm.buffer, file.buffer]);
    /** Words by number. */
    captioner.words = about.words;
    /** What `captioner.json` holds. */
    captioner.settings = about.settings;
    return captioner;
  }

  /** Resizes a decoded photo to what `caption` takes. */
  fit(bitmap) {
    return fitBitmap(bitmap, this.settings.image_size, this.settings.resize_mode);
  }

  /**
   * Says what is in a picture.
   *
   * @param {Uint8Array} pixels RGB, row by row, of the model's size; see `fit`.
   * @param {{method: string, onWord: function(Object)}=} options `method` is
   *     `"beam"`, `"greedy"` (both in one go) or `"stream"` (the words of
   *     greedy, each given to `onWord` as soon as it is known: `token`, `word`,
   *     `attention` and `gate`).
   * @return {Promise<Object>} `tokens`, `words`, `attention` (for each word
   *     Float32Array of `rows * columns`), `gate` (for each word how much it
   *     relied on the picture), `logProbability` and `finished`.
   */
  async caption(pixels, {method = "beam", onWord = () => {}} = {}) {
    const {min_words: least, no_repeat_ngram_size: banned} = this.settings;
    // Steps know nothing of the words before the last.
    if (method === "stream" && (least > 1 || banned > 0)) method = "greedy";
    const input = {pixels, method};
    const tell = (one) => onWord({...one, word: this.words[one.token]});
    const found = method === "stream"
      ? await this.#ask("stream", input, [], tell)
      : await this.#ask("run", input);
    return {...found, words: found.tokens.map((token) => this.words[token])};
  }

  /** Ends the worker. */
  close() {
    this.#worker.terminate();
  }

  // A worker from a file of its own would not inherit the page's policy.
  #begin() {
    const address = JSON.stringify(new URL("worker.js", import.meta.url).href);
    const source = `import(${address}).catch(
      (error) => postMessage({failed: String(error)}));`;
    const blob = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    this.#worker = new Worker(blob);
    return new Promise((resolve, reject) => {
      const failed = (reason) => {
        const error = new CaptionerError(
          `The captioner could not be started (${reason}). Run \`npm ci\` in the ` +
          "folder of this page if that was not done, or use a newer browser.");
        for (const {reject} of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        reject(error);
      };
      this.#worker.addEventListener("error", (event) => {
        event.preventDefault();
        failed(event.message ?? "unknown");
      });
      this.#worker.addEventListener("message", ({data}) => {
        if (data.ready || data.failed) URL.revokeObjectURL(blob);
        if (data.ready) resolve();
        else if (data.failed) failed(data.failed);
        else this.#hear(data);
      });
    });
  }

  #ask(task, input, transfer = [], onWord = null) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {resolve, reject, onWord});
      this.#worker.postMessage({id, task, input}, transfer);
    });
  }

  #hear({id, word, result, error}) {
    const {resolve, reject, onWord} = this.#waiting.get(id);
    if (word) return onWord(word);
    this.#waiting.delete(id);
    if (!error) return resolve(result);
    reject(error.told ? new CaptionerError(error.message) : new Error(error.message));
  }
}
