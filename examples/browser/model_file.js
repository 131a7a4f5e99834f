// What a captioner's .tflite file says of itself: its words and settings.

import {readArchive} from "./archive.js";
import {CaptionerError} from "./errors.js";

export const MOST_BYTES = 512 * 2 ** 20;

const MAGIC = "TFL3";
const FILES = {"captioner.json": 2 ** 20, "vocabulary.txt": 4 * 2 ** 20};
const FORMAT = 1;

/**
 * Reads the words and the settings of a captioner.
 *
 * @param {Uint8Array} bytes The whole .tflite file.
 * @return {{words: string[], settings: Object}} The vocabulary, where a word's
 *     index is its number, and what `captioner.json` holds.
 * @throws {CaptionerError} It is no captioner, or one that is damaged.
 */
export function readModelFile(bytes) {
  const magic = String.fromCharCode(...bytes.subarray(4, 8));
  if (magic !== MAGIC) {
    throw new CaptionerError(
      "This is no .tflite file. Expected one that " +
      "`python -m show_attend_tell.export --format=tflite` wrote.");
  }
  const files = readArchive(bytes, FILES);
  for (const name of Object.keys(FILES)) {
    if (!files[name]) throw refused(`${name} is not in it`);
  }
  const settings = parse(files["captioner.json"]);
  const words = decode(files["vocabulary.txt"], "vocabulary.txt")
    .replace(/\n$/, "").split("\n");
  check(settings, words);
  return {words, settings};
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
  try {
    const settings = JSON.parse(decode(bytes, "captioner.json"));
    if (settings !== null && typeof settings === "object") return settings;
  } catch (error) {
    if (error instanceof CaptionerError) throw error;
  }
  throw refused("captioner.json is not JSON");
}

function check(settings, words) {
  if (settings.format !== FORMAT) {
    throw refused(`its format is ${JSON.stringify(settings.format)} and not ${FORMAT}`);
  }
  const last = words.length - 1;
  const ranges = {
    image_size: [1, 1024],
    rows: [1, 64],
    columns: [1, 64],
    max_words: [1, 256],
    beam_width: [1, 64],
    min_words: [0, 256],
    no_repeat_ngram_size: [0, 256],
    start: [0, last],
    end: [0, last],
    unknown: [0, last],
  };
  for (const [name, [least, most]] of Object.entries(ranges)) {
    const value = settings[name];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw refused(`${name} is ${JSON.stringify(value)}, expected ${least} to ${most}`);
    }
  }
  if (!["squash", "crop"].includes(settings.resize_mode)) {
    throw refused(`resize_mode is ${JSON.stringify(settings.resize_mode)}`);
  }
}
