// Photo -> the square of pixels that the encoder was trained on.
//
// The same as `pipelines/images.py`, to the last bit: bilinear, half-pixel
// centres, two by two neighbours, no antialias, arithmetic in float32, halves
// to even. A canvas would scale by rules of its own.

import {CaptionerError} from "./errors.js";

export const MOST_PIXELS = 64_000_000;
export const MOST_FILE_BYTES = 256 * 2 ** 20;

// How much of a photo is read at a time, in pixels.
const BAND_PIXELS = 2 ** 22;

/**
 * Decodes a photo: upright by its EXIF orientation, without colour conversion,
 * the first frame of an animation.
 *
 * @param {Blob} file JPEG, PNG, WebP, GIF, BMP, or what else the browser knows.
 * @return {Promise<ImageBitmap>} To be closed by who asked for it.
 * @throws {CaptionerError} It is no image, or too large.
 */
export async function decodePhoto(file) {
  if (file.size > MOST_FILE_BYTES) {
    throw new CaptionerError(
      `This file has ${Math.round(file.size / 2 ** 20)} MB. ` +
      "Choose a photo of at most 256 MB.");
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    const name = file.name ? `“${file.name}”` : "this";
    throw new CaptionerError(
      `This browser cannot read ${name} as a photo. It may be damaged, or of ` +
      "another kind: save it as JPEG or PNG, and try again.");
  }
  const {width, height} = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new CaptionerError(
      `This photo has ${Math.round(width * height / 1e6)} megapixels. ` +
      `Make it smaller: at most ${MOST_PIXELS / 1e6}.`);
  }
  return bitmap;
}

/**
 * Resizes a decoded photo to the encoder's square.
 *
 * @param {ImageBitmap} bitmap The photo; transparency is laid on white.
 * @param {number} size Side of the square.
 * @param {string} resize_mode `"crop"` (the centre) or `"squash"` (all of it).
 * @return {Uint8Array} RGB, row by row, `size * size * 3`.
 */
export function fitBitmap(bitmap, size, resize_mode) {
  const {width, height} = bitmap;
  const [rows] = resizedShape(height, width, size, resize_mode);
  const {lower, upper} = neighbours(height, rows, size);
  const wanted = new Set([...lower, ...upper]);
  const lines = new Map();
  const band = Math.min(height, Math.max(1, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, band);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff";
  for (let top = 0; top < height; top += band) {
    context.fillRect(0, 0, width, band);
    // Beyond a browser's largest canvas nothing is drawn, without a word.
    if (context.getImageData(width - 1, 0, 1, 1).data[3] !== 255) {
      throw new CaptionerError(
        `This photo is ${width} pixels wide, more than this browser can read. ` +
        "Make it smaller.");
    }
    context.drawImage(bitmap, 0, -top);
    for (let y = top; y < Math.min(top + band, height); y++) {
      if (wanted.has(y)) lines.set(y, context.getImageData(0, y - top, width, 1).data);
    }
  }
  return fitImage({width, height, line: (y) => lines.get(y)}, size, resize_mode);
}

/**
 * Resizes pixels to the encoder's square.
 *
 * @param {{width: number, height: number, line: function(number)}} image
 *     `line(y)` gives a row of pixels as RGBA.
 * @param {number} size Side of the square.
 * @param {string} resize_mode `"crop"` or `"squash"`.
 * @return {Uint8Array} RGB, row by row, `size * size * 3`.
 */
export function fitImage({width, height, line}, size, resize_mode) {
  const [rows, columns] = resizedShape(height, width, size, resize_mode);
  const down = neighbours(height, rows, size);
  const across = neighbours(width, columns, size);
  const square = new Uint8Array(size * size * 3);
  for (let y = 0, n = 0; y < size; y++) {
    const above = line(down.lower[y]), below = line(down.upper[y]);
    for (let x = 0; x < size; x++) {
      const left = 4 * across.lower[x], right = 4 * across.upper[x];
      for (let c = 0; c < 3; c++, n++) {
        const high = between(above[left + c], above[right + c], across.weight[x]);
        const low = between(below[left + c], below[right + c], across.weight[x]);
        square[n] = halfEven(between(high, low, down.weight[y]));
      }
    }
  }
  return square;
}

/**
 * Returns the part of a photo that the encoder sees: left, top, right and
 * bottom as fractions.
 */
export function seenBox(height, width, resize_mode) {
  const side = 224; // of the encoder's input; another gives the same fractions
  const [rows, columns] = resizedShape(height, width, side, resize_mode);
  const left = Math.floor((columns - side) / 2), top = Math.floor((rows - side) / 2);
  return [left / columns, top / rows, (left + side) / columns, (top + side) / rows];
}

// Height and width to which a photo is resized, before the square is cut out.
function resizedShape(height, width, size, resize_mode) {
  if (resize_mode === "squash") return [size, size];
  const shorter = Math.min(height, width);
  const target = halfEven(size * 256 / 224);
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

function between(low, high, weight) {
  return Math.fround(low + Math.fround(Math.fround(high - low) * weight));
}

function halfEven(value) {
  const floor = Math.floor(value);
  const part = value - floor;
  return part > 0.5 || (part === 0.5 && floor % 2) ? floor + 1 : floor;
}
