// Decodes photos, and resizes them to the square that the encoder takes.
//
// The same as `pipelines/images/decoding.py`, to the last bit: bilinear,
// half-pixel centres, two by two neighbours, no antialias, arithmetic in float32,
// halves to even. The resize of a canvas differs from browser to browser.

import {CaptionerError} from "./errors.js";
import {formatOf, NAMES} from "./formats.js";

export const MAX_PIXELS = 64_000_000;
export const MAX_FILE_BYTES = 256 * 2 ** 20;

// What every browser reads.
const EVERYWHERE = new Set(["JPEG", "PNG", "WebP", "GIF", "BMP"]);

// How much of a photo is read at a time, in pixels.
const BAND_PIXELS = 2 ** 22;

/**
 * Decodes a photo: upright by its EXIF orientation, without colour conversion,
 * the first frame of an animation. Its format is told by its first bytes, and
 * its size before its pixels are decoded.
 *
 * @param {Blob} file JPEG, PNG, WebP, GIF, BMP, or another format of the browser.
 * @return {Promise<ImageBitmap>} To be closed by the caller.
 * @throws {CaptionerError} It is no image, or too large.
 */
export async function decodePhoto(file) {
  if (file.size > MAX_FILE_BYTES) {
    throw new CaptionerError(
      `This file has ${Math.round(file.size / 2 ** 20)} MB. ` +
      "Choose a photo of at most 256 MB.");
  }
  let format, bitmap;
  try {
    format = await formatOf(file);
    if (!format) throw new TypeError();
    const {width, height} = await sizeOf(file);
    if (width * height > MAX_PIXELS) {
      throw new CaptionerError(
        `This photo has ${Math.round(width * height / 1e6)} megapixels. ` +
        `Make it smaller: at most ${MAX_PIXELS / 1e6}.`);
    }
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch (error) {
    throw error instanceof CaptionerError ? error : unreadable(file, format);
  }
  return bitmap;
}

function unreadable(file, format) {
  const reason = !format ? `it begins like none of ${NAMES}`
    : EVERYWHERE.has(format) ? `it is a damaged ${format}` : `it is ${format}`;
  const advice = format === "HEIC"
    ? " (an iPhone takes JPEG with Settings, Camera, Formats, Most Compatible)" : "";
  return new CaptionerError(
    `This browser cannot read ${file.name ? `“${file.name}”` : "this"} as a photo: ` +
    `${reason}. Save it as JPEG or PNG, and try again${advice}.`);
}

// An element knows the size in the header before anything is decoded.
async function sizeOf(file) {
  const address = URL.createObjectURL(file);
  try {
    return await new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve({width: image.naturalWidth, height: image.naturalHeight});
      image.onerror = reject;
      image.src = address;
    });
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * Resizes a decoded photo to the encoder's square.
 *
 * @param {ImageBitmap} bitmap The photo; transparency is laid on white.
 * @param {number} size Side of the square.
 * @param {string} resizeMode `"crop"` (the centre) or `"squash"` (all of it).
 * @return {Uint8Array} RGB, row by row, `size * size * 3`.
 */
export function fitBitmap(bitmap, size, resizeMode) {
  const {width, height} = bitmap;
  const [rows] = resizedShape(height, width, size, resizeMode);
  const {lower, upper} = neighbours(height, rows, size);
  const needed = new Set([...lower, ...upper]);
  const lines = new Map();
  const band = Math.min(height, Math.max(1, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, band);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff";
  for (let top = 0; top < height; top += band) {
    context.fillRect(0, 0, width, band);
    // Beyond its largest canvas a browser renders nothing, without an error.
    if (context.getImageData(width - 1, 0, 1, 1).data[3] !== 255) {
      throw new CaptionerError(
        `This photo is ${width} pixels wide, more than this browser can read. ` +
        "Make it smaller.");
    }
    context.drawImage(bitmap, 0, -top);
    for (let y = top; y < Math.min(top + band, height); y++) {
      if (needed.has(y)) lines.set(y, context.getImageData(0, y - top, width, 1).data);
    }
  }
  return fitImage({width, height, line: (y) => lines.get(y)}, size, resizeMode);
}

/**
 * Resizes pixels to the encoder's square.
 *
 * @param {{width: number, height: number, line: function(number)}} image
 *     `line(y)` gives a row of pixels as RGBA.
 * @param {number} size Side of the square.
 * @param {string} resizeMode `"crop"` or `"squash"`.
 * @return {Uint8Array} RGB, row by row, `size * size * 3`.
 */
export function fitImage({width, height, line}, size, resizeMode) {
  const [rows, columns] = resizedShape(height, width, size, resizeMode);
  const vertical = neighbours(height, rows, size);
  const horizontal = neighbours(width, columns, size);
  const square = new Uint8Array(size * size * 3);
  for (let y = 0, n = 0; y < size; y++) {
    const above = line(vertical.lower[y]), below = line(vertical.upper[y]);
    for (let x = 0; x < size; x++) {
      const left = 4 * horizontal.lower[x], right = 4 * horizontal.upper[x];
      const weight = horizontal.weight[x];
      for (let c = 0; c < 3; c++, n++) {
        const top = interpolate(above[left + c], above[right + c], weight);
        const bottom = interpolate(below[left + c], below[right + c], weight);
        square[n] = roundHalfEven(interpolate(top, bottom, vertical.weight[y]));
      }
    }
  }
  return square;
}

/**
 * Returns the part of a photo that the encoder sees: left, top, right and
 * bottom as fractions.
 */
export function seenBox(height, width, resizeMode) {
  const side = 224; // of the encoder's input; any other gives the same fractions
  const [rows, columns] = resizedShape(height, width, side, resizeMode);
  const left = Math.floor((columns - side) / 2), top = Math.floor((rows - side) / 2);
  return [left / columns, top / rows, (left + side) / columns, (top + side) / rows];
}

// Height and width to which a photo is resized, before the square is cut out.
function resizedShape(height, width, size, resizeMode) {
  if (resizeMode === "squash") return [size, size];
  const shorter = Math.min(height, width);
  const target = roundHalfEven(size * 256 / 224);
  return [height, width].map((side) =>
    Math.floor((2 * side * target + shorter) / (2 * shorter)));
}

// For each pixel along an axis its two neighbours, and the upper one's weight.
function neighbours(source, target, size) {
  const scale = Math.fround(source / target);
  const first = Math.floor((target - size) / 2);
  const lower = new Uint32Array(size), upper = new Uint32Array(size);
  const weight = new Float32Array(size);
  for (let n = 0; n < size; n++) {
    const position = Math.fround(Math.fround((first + n + 0.5) * scale) - 0.5);
    const floor = Math.floor(position);
    lower[n] = Math.min(Math.max(floor, 0), source - 1);
    upper[n] = Math.min(Math.ceil(position), source - 1);
    weight[n] = position - floor;
  }
  return {lower, upper, weight};
}

function interpolate(low, high, weight) {
  return Math.fround(low + Math.fround(Math.fround(high - low) * weight));
}

function roundHalfEven(value) {
  const floor = Math.floor(value), part = value - floor;
  return part > 0.5 || (part === 0.5 && floor % 2) ? floor + 1 : floor;
}
