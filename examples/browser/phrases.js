// The noun phrases of a caption, each with the box that its words attend to: the
// same as `show_attend_tell.inference.caption_phrases`.

import {findNounPhrases} from "./noun_phrases.js";

const LEAST = 0.2; // of the peak, that attention in the box has
const FINER = 4; // cells in place of one along each axis

/**
 * Returns the noun phrases of an English caption.
 *
 * @param {string[]} words
 * @param {Float32Array[]} attention Of each word at each location, row by row.
 * @param {[number, number]} grid Rows and columns of the locations.
 * @return {Object[]} Of each `start` and `stop` (its words), `weights` (the mean
 *     of their attention), `box` (left, top, right and bottom as fractions of
 *     what the encoder saw) and `share` (of the attention in the box).
 */
export function groundPhrases(words, attention, grid) {
  return findNounPhrases(words).map(([start, stop]) => {
    const maps = attention.slice(start, stop);
    const weights = Float64Array.from(maps[0], (_, n) =>
      maps.reduce((sum, map) => sum + map[n], 0) / maps.length);
    const box = boxOf(weights, grid);
    return {start, stop, weights, box, share: shareIn(box, weights, grid)};
  });
}

/** Returns the box of what a map lies on; see `attention_boxes.box_of`. */
export function boxOf(weights, [rows, columns], part = LEAST) {
  const across = FINER * columns, down = FINER * rows;
  const fine = interpolate(interpolate(weights, rows, columns), columns, down);
  const peak = fine.reduce((best, value, n) => (value > fine[best] ? n : best), 0);
  const least = part * fine[peak];
  const reached = new Set([peak]);
  let [left, top, right, bottom] = [across, down, -1, -1];
  for (const n of reached) { // Which grows meanwhile.
    const x = n % across, y = Math.floor(n / across);
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x), Math.max(bottom, y)];
    for (let j = Math.max(y - 1, 0); j <= Math.min(y + 1, down - 1); j++) {
      for (let i = Math.max(x - 1, 0); i <= Math.min(x + 1, across - 1); i++) {
        if (fine[j * across + i] >= least) reached.add(j * across + i);
      }
    }
  }
  return [left / across, top / down, (right + 1) / across, (bottom + 1) / down];
}

// Four rows in place of one, transposed: those of the result are columns.
function interpolate(values, rows, columns) {
  const fine = new Float64Array(FINER * rows * columns);
  for (let n = 0; n < FINER * rows; n++) {
    const centre = (n + 0.5) / FINER - 0.5;
    const below = Math.min(Math.max(Math.floor(centre), 0), Math.max(rows - 2, 0));
    const part = Math.min(Math.max(centre - below, 0), 1);
    const above = Math.min(below + 1, rows - 1);
    for (let c = 0; c < columns; c++) {
      fine[c * FINER * rows + n] =
        (1 - part) * values[below * columns + c] + part * values[above * columns + c];
    }
  }
  return fine;
}

function shareIn([left, top, right, bottom], weights, [rows, columns]) {
  const covered = (n, count, first, last) =>
    Math.max(Math.min((n + 1) / count, last) - Math.max(n / count, first), 0) * count;
  return weights.reduce((sum, weight, n) => sum + weight *
    covered(n % columns, columns, left, right) *
    covered(Math.floor(n / columns), rows, top, bottom), 0);
}
