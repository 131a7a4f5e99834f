// Reads the zip archive behind a model, whose last file, `sha256.txt`, is the
// SHA-256 of every byte before it: see `inference/tflite_archive.py`.

import {CaptionerError} from "./errors.js";
import {sha256} from "./sha256.js";

const DIGEST_FILE = "sha256.txt";
const DIGEST_SIZE = 65; // 64 digits and a new line

// The end of an archive, and what lies before each file.
const END = 0x06054b50, HEADER = 0x04034b50;
const END_SIZE = 22, HEADER_SIZE = 30;

/**
 * Reads the files of the archive. Only its end and the header before each file
 * are believed, as far as they lead from one file to the next without a gap.
 *
 * @param {Uint8Array} bytes The complete file.
 * @param {Object<string, number>} limits Names of all files but the digest, in
 *     their order, and how many bytes each may have at most.
 * @return {Promise<Object<string, Uint8Array>>} The files.
 * @throws {CaptionerError} There is no such archive, it holds anything else, or
 *     the file is not as it was written.
 */
export async function readArchive(bytes, limits) {
  try {
    return await read(bytes, limits);
  } catch (error) {
    // Reads outside of the file.
    if (error instanceof RangeError) throw damaged("it is cut off");
    throw error;
  }
}

async function read(bytes, limits) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - END_SIZE;
  if (end < 0 || view.getUint32(end, true) !== END) {
    throw new CaptionerError(
      "This file has no vocabulary at its end, so it is no captioner. Expected a .tflite " +
      "file that `python -m show_attend_tell.export --format=tflite` wrote.");
  }
  const list = view.getUint32(end + 16, true);
  let at = view.getUint32(list + 42, true); // where the first file begins
  const files = {};
  for (const [name, limit] of Object.entries(limits)) {
    files[name] = readFile(bytes, view, at, name, limit);
    at += HEADER_SIZE + name.length + files[name].length;
  }
  if (at === list) throw damaged("it is of format 1, which has no checksum");
  const digest = readFile(bytes, view, at, DIGEST_FILE, DIGEST_SIZE);
  if (at + HEADER_SIZE + DIGEST_FILE.length + digest.length !== list) {
    throw damaged("its archive holds more");
  }
  if (text(digest) !== `${await sha256(bytes.subarray(0, at))}\n`) {
    throw damaged("it was changed or damaged (another SHA-256)");
  }
  return files;
}

function damaged(reason) {
  return new CaptionerError(
    `The model's file cannot be used: ${reason}. Get the file again, or export it again.`);
}

// Returns the file whose header is at an offset.
function readFile(bytes, view, at, name, limit) {
  const begin = at + HEADER_SIZE + name.length, size = view.getUint32(at + 22, true);
  // The length of the name, and none of what may follow it.
  if (view.getUint32(at, true) !== HEADER || view.getUint32(at + 26, true) !== name.length
      || text(bytes.subarray(at + HEADER_SIZE, begin)) !== name) {
    throw damaged(`no ${name} at its place`);
  }
  if (view.getUint32(at + 6, true)) throw damaged(`${name} is compressed or encrypted`);
  if (size > limit) throw damaged(`${name} has ${size} bytes, more than ${limit}`);
  if (begin + size > bytes.length) throw new RangeError();
  return bytes.subarray(begin, begin + size);
}

const text = (bytes) => String.fromCharCode(...bytes);
