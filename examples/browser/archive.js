// Reads small files from the zip archive at the end of another file. They lie
// there as they are: what is compressed is refused, as in Python.

import {CaptionerError} from "./errors.js";

const MOST_ENTRIES = 64;
const END = 0x06054b50, ENTRY = 0x02014b50, LOCAL = 0x04034b50;
const END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30;
const STORED = 0;

/**
 * Reads files of a zip archive.
 *
 * The archive may come after something else, such as a model. Sizes and
 * checksums are looked at.
 *
 * @param {Uint8Array} bytes The whole file.
 * @param {Object<string, number>} wanted Names, and how many bytes each may
 *     have at most.
 * @return {Object<string, Uint8Array>} The files; those that are not
 *     in the archive are left out.
 * @throws {CaptionerError} There is no archive, or it is damaged or too large.
 */
export function readArchive(bytes, wanted) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files = {};
  try {
    for (const entry of entries(bytes, view)) {
      if (!Object.hasOwn(wanted, entry.name)) continue;
      if (Object.hasOwn(files, entry.name)) throw damaged(`${entry.name} twice`);
      files[entry.name] = unpack(bytes, view, entry, wanted[entry.name]);
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
    `The words at the end of the model's file cannot be read: ${reason}. ` +
    "Get the file anew, or export it again.");
}

function entries(bytes, view) {
  const end = endRecord(view);
  const count = view.getUint16(end + 10, true);
  const size = view.getUint32(end + 12, true);
  const offset = view.getUint32(end + 16, true);
  if (count > MOST_ENTRIES) throw damaged(`${count} files in it`);
  // Offsets count from where the archive begins, or from the file's start.
  const begin = end - size - offset;
  if (begin < 0) throw damaged("its list of files lies outside of it");
  const found = [];
  let at = end - size;
  for (let n = 0; n < count; n++) {
    if (view.getUint32(at, true) !== ENTRY) throw damaged("its list of files is broken");
    const [nameSize, extraSize, noteSize] = [28, 30, 32].map((n) => view.getUint16(at + n, true));
    found.push({
      method: view.getUint16(at + 10, true),
      expected: view.getUint32(at + 16, true),
      size: view.getUint32(at + 24, true),
      offset: begin + view.getUint32(at + 42, true),
      name: text(slice(bytes, at + ENTRY_SIZE, nameSize)),
    });
    at += ENTRY_SIZE + nameSize + extraSize + noteSize;
  }
  return found;
}

// The record at the very end, which a comment may follow.
function endRecord(view) {
  const last = view.byteLength - END_SIZE;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END && view.getUint16(at + 20, true) === last - at) {
      return at;
    }
  }
  throw new CaptionerError(
    "This file has no words at its end, so it is no captioner. Expected a .tflite " +
    "file that `python -m show_attend_tell.export --format=tflite` wrote.");
}

function unpack(bytes, view, {name, method, size, expected, offset}, most) {
  if (size > most) throw damaged(`${name} has ${size} bytes, more than ${most}`);
  if (method !== STORED) throw damaged(`${name} is compressed`);
  if (view.getUint32(offset, true) !== LOCAL) throw damaged(`${name} is not where it should be`);
  const begin = offset + LOCAL_SIZE + view.getUint16(offset + 26, true)
    + view.getUint16(offset + 28, true);
  const file = slice(bytes, begin, size);
  if (checksum(file) !== expected) throw damaged(`${name} is not what was put there`);
  return file;
}

function slice(bytes, begin, size) {
  if (begin + size > bytes.length) throw new RangeError();
  return bytes.subarray(begin, begin + size);
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

const TABLE = Uint32Array.from({length: 256}, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

// CRC-32, as zip has it.
function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
