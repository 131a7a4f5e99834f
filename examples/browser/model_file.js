// Reads the vocabulary and the settings in a captioner's .tflite file.

import {readArchive} from "./archive.js";
import {CaptionerError} from "./errors.js";

export const MAX_BYTES = 512 * 2 ** 20;

const MAGIC = "TFL3";
const MAX_FILE_BYTES = {"captioner.json": 2 ** 16, "vocabulary.txt": 2 ** 24};
const FORMAT = 2;

/**
 * Reads the vocabulary and the settings of a captioner.
 *
 * @param {Uint8Array} bytes The complete .tflite file.
 * @return {Promise<{vocabulary: string[], settings: Object}>} The words, indexed
 *     by token, and the content of `captioner.json`.
 * @throws {CaptionerError} It is no captioner, or not as it was written.
 */
export async function readModelFile(bytes) {
  const magic = String.fromCharCode(...bytes.subarray(4, 8));
  if (magic !== MAGIC) {
    throw new CaptionerError(
      "This is no .tflite file. Expected one that " +
      "`python -m show_attend_tell.export --format=tflite` wrote.");
  }
  const files = await readArchive(bytes, MAX_FILE_BYTES);
  const settings = parse(files["captioner.json"]);
  const vocabulary = decode(files["vocabulary.txt"], "vocabulary.txt")
    .replace(/\n$/, "").split("\n");
  check(settings, vocabulary);
  return {vocabulary, settings};
}

function refused(reason) {
  return new CaptionerError(
    `This file is no captioner that this page can use: ${reason}. ` +
    "Export it again with the version that this page came with.");
}

function decode(bytes, name) {
  try {
    return new TextDecoder("utf-8", {fatal: true}).decode(bytes);
  } catch {
    throw refused(`${name} is not UTF-8`);
  }
}

function parse(bytes) {
  const text = decode(bytes, "captioner.json");
  try {
    const settings = JSON.parse(text);
    if (settings !== null && typeof settings === "object") return settings;
  } catch {
    // As what is JSON, but no object.
  }
  throw refused("captioner.json is not JSON");
}

function check(settings, vocabulary) {
  if (settings.format !== FORMAT) {
    throw refused(`its format is ${JSON.stringify(settings.format)} and not ${FORMAT}`);
  }
  const lastToken = vocabulary.length - 1;
  const ranges = {
    image_size: [1, 1024],
    rows: [1, 64],
    columns: [1, 64],
    max_words: [1, 256],
    beam_width: [1, 64],
    min_words: [0, 256],
    no_repeat_ngram_size: [0, 256],
    start: [0, lastToken],
    end: [0, lastToken],
    unknown: [0, lastToken],
  };
  for (const [name, [min, max]] of Object.entries(ranges)) {
    const value = settings[name];
    if (!Number.isInteger(value) || value < min || value > max) {
      throw refused(`${name} is ${JSON.stringify(value)}, expected ${min} to ${max}`);
    }
  }
  if (!["squash", "crop"].includes(settings.resize_mode)) {
    throw refused(`resize_mode is ${JSON.stringify(settings.resize_mode)}`);
  }
}
