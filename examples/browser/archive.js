// Reads small files from the zip archive at the end of another file. They are
// stored without compression; a compressed one is refused, as in Python.

import {CaptionerError} from "./errors.js";

const MAX_ENTRIES = 64;
const END = 0x06054b50, ENTRY = 0x02014b50, LOCAL = 0x04034b50;
const END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30;
const STORED = 0;

/**
 * Reads files of a zip archive, and checks their sizes and checksums.
 *
 * The archive may follow something else, such as a model.
 *
 * @param {Uint8Array} bytes The complete file.
 * @param {Object<string, number>} limits Names of files, and how many bytes
 *     each may have at most.
 * @return {Object<string, Uint8Array>} The files that are in the archive.
 * @throws {CaptionerError} There is no archive, or it is damaged or too large.
 */
export function readArchive(bytes, limits) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files = {};
  try {
    for (const entry of readEntries(bytes, view)) {
      if (!Object.hasOwn(limits, entry.name)) continue;
      if (Object.hasOwn(files, entry.name)) throw damaged(`${entry.name} twice`);
      files[entry.name] = readFile(bytes, view, entry, limits[entry.name]);
    }
  } catch (error) {
    // Reads outside of the file.
    if (error instanceof RangeError) throw damaged("it points outside of itself");
    throw error;
  }
  return files;
}

function damaged(reason) {
  return new CaptionerError(
    `The vocabulary at the end of the model's file cannot be read: ${reason}. ` +
    "Get the file again, or export it again.");
}

function readEntries(bytes, view) {
  const end = findEndRecord(view);
  const count = view.getUint16(end + 10, true);
  const size = view.getUint32(end + 12, true);
  // Offsets count from where the archive begins, or from the file's start.
  const begin = end - size - view.getUint32(end + 16, true);
  if (count > MAX_ENTRIES) throw damaged(`${count} files in it`);
  if (begin < 0) throw damaged("its list of files lies outside of it");
  const entries = [];
  let at = end - size;
  for (let n = 0; n < count; n++) {
    if (view.getUint32(at, true) !== ENTRY) throw damaged("its list of files is broken");
    const [nameSize, extraSize, commentSize] =
      [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    entries.push({
      method: view.getUint16(at + 10, true),
      checksum: view.getUint32(at + 16, true),
      size: view.getUint32(at + 24, true),
      offset: begin + view.getUint32(at + 42, true),
      name: new TextDecoder().decode(slice(bytes, at + ENTRY_SIZE, nameSize)),
    });
    at += ENTRY_SIZE + nameSize + extraSize + commentSize;
  }
  return entries;
}

// The record at the very end, which a comment may follow.
function findEndRecord(view) {
  const last = view.byteLength - END_SIZE;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END && view.getUint16(at + 20, true) === last - at) {
      return at;
    }
  }
  throw new CaptionerError(
    "This file has no vocabulary at its end, so it is no captioner. Expected a .tflite " +
    "file that `python -m show_attend_tell.export --format=tflite` wrote.");
}

function readFile(bytes, view, {name, method, size, checksum, offset}, limit) {
  if (size > limit) throw damaged(`${name} has ${size} bytes, more than ${limit}`);
  if (method !== STORED) throw damaged(`${name} is compressed`);
  if (view.getUint32(offset, true) !== LOCAL) throw damaged(`${name} is not where it should be`);
  const begin = offset + LOCAL_SIZE + view.getUint16(offset + 26, true)
    + view.getUint16(offset + 28, true);
  const file = slice(bytes, begin, size);
  if (crc32(file) !== checksum) throw damaged(`${name} has another checksum`);
  return file;
}

function slice(bytes, begin, size) {
  if (begin + size > bytes.length) throw new RangeError();
  return bytes.subarray(begin, begin + size);
}

const TABLE = Uint32Array.from({length: 256}, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
