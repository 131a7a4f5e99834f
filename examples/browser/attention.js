// Renders and describes where the attention of a word lies, or the box of a phrase.

const GAMMA = 0.8; // lifts what is attended to somewhat
const SIGMA = 0.65; // of the smoothing, in grid cells
const GLOW = [1, 0.95, 0.8];

// A ninth of the photo with this share of the attention is named by itself.
const CLEAR = 0.3;
const NAMES = [
  "upper left", "top", "upper right",
  "left", "centre", "right",
  "lower left", "bottom", "lower right",
];

/**
 * Renders a photo bright where the attention lies; elsewhere it is dark and
 * grey, and darker where the encoder did not see it. The same as the attention
 * figures of `show_attend_tell.inference.attention_figure`.
 *
 * @param {ImageData} photo
 * @param {Float32Array} weights Attention of each location, row by row.
 * @param {[number, number]} grid Rows and columns of the locations.
 * @param {[number, number, number, number]} seen Left, top, right and bottom
 *     of the part that the encoder saw, as fractions; see `seenBox`.
 * @return {ImageData}
 */
export function renderAttention(photo, weights, grid, seen) {
  const {width, height, data} = photo;
  const [left, top, right, bottom] = seen.map((edge, n) =>
    Math.round(edge * (n % 2 ? height : width)));
  const seenWidth = right - left;
  const brightness = upsample(weights, grid, bottom - top, seenWidth);
  const overlay = new ImageData(width, height);
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n += 4) {
      const inside = y >= top && y < bottom && x >= left && x < right;
      const bright = inside ? brightness[(y - top) * seenWidth + x - left] : 0;
      const grey = 0.299 * data[n] + 0.587 * data[n + 1] + 0.114 * data[n + 2];
      const dark = (1 - bright) * (inside ? 0.36 : 0.15) * grey;
      const shine = 0.35 * bright * Math.sqrt(bright);
      for (let c = 0; c < 3; c++) {
        const value = (dark + bright * data[n + c]) / 255;
        overlay.data[n + c] = 255 * (1 - (1 - value) * (1 - shine * GLOW[c])) + 0.5;
      }
      overlay.data[n + 3] = 255;
    }
  }
  return overlay;
}

// The smoothed weights at each pixel. The peak is 1, but attention that is
// spread evenly stays dim.
function upsample(weights, [rows, columns], height, width) {
  const lines = innerProducts(cellShares(width, columns), weights, columns);
  const smooth = innerProducts(cellShares(height, rows), lines, rows);
  const dim = 3 * weights.reduce((a, b) => a + b, 0) / weights.length;
  const peak = smooth.reduce((a, b) => Math.max(a, b), dim);
  return smooth.map((value) => (value / (peak || 1)) ** GAMMA);
}

// The inner product of each row of `a` with each row of `b`, rows of `size`.
function innerProducts(a, b, size) {
  const columns = b.length / size;
  const products = new Float32Array(a.length / size * columns);
  for (let n = 0; n < products.length; n++) {
    const rowA = Math.floor(n / columns) * size, rowB = n % columns * size;
    let sum = 0;
    for (let k = 0; k < size; k++) sum += a[rowA + k] * b[rowB + k];
    products[n] = sum;
  }
  return products;
}

// Each cell's share in each pixel along one axis.
function cellShares(pixels, cells) {
  const shares = new Float32Array(pixels * cells);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const position = (pixel + 0.5) * cells / pixels;
    let sum = 0;
    for (let n = 0; n < cells; n++) {
      const share = Math.exp(-(((position - n - 0.5) / SIGMA) ** 2) / 2);
      shares[pixel * cells + n] = share;
      sum += share;
    }
    for (let n = 0; n < cells; n++) shares[pixel * cells + n] /= sum;
  }
  return shares;
}

/**
 * Draws a box on a transparent canvas, seen on light and on dark.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {[number, number, number, number]} box Left, top, right and bottom, as
 *     fractions of the part that the encoder saw.
 * @param {[number, number, number, number]} seen As for `renderAttention`.
 */
export function drawBox(pen, box, seen) {
  const sides = [pen.canvas.width, pen.canvas.height];
  const line = Math.max(2, Math.round(Math.max(...sides) / 160));
  const [left, top, right, bottom] = box.map((edge, n) => {
    const first = seen[n % 2], side = sides[n % 2];
    const position = (first + edge * (seen[n % 2 + 2] - first)) * side;
    return Math.min(Math.max(position, line), side - line); // Seen completely.
  });
  pen.clearRect(0, 0, ...sides);
  for (const [width, colour] of [[2 * line, "#141416"], [line, "#e87722"]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.strokeRect(left, top, right - left, bottom - top);
  }
}

/**
 * Describes where the attention lies, for people who do not see it: in which
 * ninth of the photo most of it is.
 *
 * @param {Float32Array} weights Attention of each location, row by row.
 * @param {[number, number]} grid Rows and columns of the locations.
 * @param {[number, number, number, number]} seen As for `renderAttention`.
 * @return {string} Such as "at the lower left".
 */
export function describeAttention(weights, [rows, columns], [left, top, right, bottom]) {
  const shares = new Float64Array(9);
  const third = (position) => Math.min(2, Math.floor(3 * position));
  let sum = 0;
  weights.forEach((weight, n) => {
    const x = left + (right - left) * (n % columns + 0.5) / columns;
    const y = top + (bottom - top) * (Math.floor(n / columns) + 0.5) / rows;
    shares[3 * third(y) + third(x)] += weight;
    sum += weight;
  });
  const largest = shares.indexOf(Math.max(...shares));
  const region = `at the ${NAMES[largest]}`;
  return shares[largest] >= CLEAR * sum ? region : `all over, most ${region}`;
}
