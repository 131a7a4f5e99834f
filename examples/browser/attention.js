// Shows and tells where the model looked.

const SIGMA = 0.65; // of the smoothing, in cells
const GLOW = [1, 0.95, 0.8];

// A ninth of the photo with this share of the attention is named alone.
const CLEAR = 0.3;
const NAMES = [
  "upper left", "top", "upper right",
  "left", "centre", "right",
  "lower left", "bottom", "lower right",
];

/**
 * Lights a photo where the weights are; elsewhere it is dark and grey, and
 * darker where the encoder did not see it. As `visualization.draw_attention`.
 *
 * @param {ImageData} photo
 * @param {Float32Array} weights Of each location, row by row.
 * @param {[number, number]} grid Rows and columns of the locations.
 * @param {[number, number, number, number]} seen Left, top, right and bottom
 *     of what the encoder saw, as fractions; see `seenBox`.
 * @return {ImageData}
 */
export function light(photo, weights, grid, seen) {
  const {width, height, data} = photo;
  const [left, top, right, bottom] = seen.map((edge, n) =>
    Math.round(edge * (n % 2 ? height : width)));
  const across = right - left;
  const smooth = smoothed(weights, grid, bottom - top, across);
  const lit = new ImageData(width, height);
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n += 4) {
      const inside = y >= top && y < bottom && x >= left && x < right;
      const bright = inside ? smooth[(y - top) * across + x - left] : 0;
      const grey = 0.299 * data[n] + 0.587 * data[n + 1] + 0.114 * data[n + 2];
      const dark = (1 - bright) * (inside ? 0.36 : 0.15) * grey;
      const shine = 0.35 * bright * Math.sqrt(bright);
      for (let c = 0; c < 3; c++) {
        const value = (dark + bright * data[n + c]) / 255;
        lit.data[n + c] = 255 * (1 - (1 - value) * (1 - shine * GLOW[c])) + 0.5;
      }
      lit.data[n + 3] = 255;
    }
  }
  return lit;
}

// The weights of the grid at each pixel. The peak is 1, but attention that is
// spread evenly stays dim.
function smoothed(weights, [rows, columns], height, width) {
  const down = mixture(height, rows), across = mixture(width, columns);
  const lines = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += weights[r * columns + c] * across[x * columns + c];
      lines[r * width + x] = sum;
    }
  }
  const smooth = new Float32Array(height * width);
  let peak = 4 * weights.reduce((a, b) => a + b, 0) / weights.length;
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += down[y * rows + r] * lines[r * width + x];
      smooth[n] = sum;
      if (sum > peak) peak = sum;
    }
  }
  return smooth.map((value) => value / (peak || 1));
}

// Each cell's share in each pixel along one axis.
function mixture(pixels, cells) {
  const shares = new Float32Array(pixels * cells);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const place = (pixel + 0.5) * cells / pixels;
    let sum = 0;
    for (let n = 0; n < cells; n++) {
      const share = Math.exp(-(((place - n - 0.5) / SIGMA) ** 2) / 2);
      shares[pixel * cells + n] = share;
      sum += share;
    }
    for (let n = 0; n < cells; n++) shares[pixel * cells + n] /= sum;
  }
  return shares;
}

/**
 * Says where the weights are, for people who do not see it: in which ninth of
 * the photo most of them lie.
 *
 * @param {Float32Array} weights Of each location, row by row.
 * @param {[number, number]} grid Rows and columns of the locations.
 * @param {[number, number, number, number]} seen As for `light`.
 * @return {string} Such as "at the lower left".
 */
export function placeOf(weights, [rows, columns], [left, top, right, bottom]) {
  const shares = new Float64Array(9);
  const third = (place) => Math.min(2, Math.floor(3 * place));
  let sum = 0;
  weights.forEach((weight, n) => {
    const x = left + (right - left) * (n % columns + 0.5) / columns;
    const y = top + (bottom - top) * (Math.floor(n / columns) + 0.5) / rows;
    shares[3 * third(y) + third(x)] += weight;
    sum += weight;
  });
  const most = shares.indexOf(Math.max(...shares));
  const place = `at the ${NAMES[most]}`;
  return shares[most] >= CLEAR * sum ? place : `all over, most ${place}`;
}
