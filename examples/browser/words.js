// Words as text, with spaces only where their scripts have them.

// Blocks of scripts without spaces: Thai, Lao, Burmese, Khmer, Tai, kana, Han, ...
const UNSPACED = [
  [0x0E01, 0x0E46], [0x0E81, 0x0EC6], [0x0EDC, 0x0EDF], [0x1000, 0x103F],
  [0x104C, 0x108F], [0x109A, 0x109F], [0x1780, 0x17DD], [0x1950, 0x19CF],
  [0x1A20, 0x1A7F], [0x1AA0, 0x1AAF], [0x3005, 0x312F], [0x31A0, 0x31FF],
  [0x3400, 0xA4CF], [0xA9E0, 0xA9EF], [0xA9FA, 0xA9FE], [0xAA60, 0xAADF],
  [0xF900, 0xFAFF], [0x16FE0, 0x18DFF], [0x1AFF0, 0x1B2FF], [0x20000, 0x3FFFD],
];

function isUnspaced(word) {
  const code = word.codePointAt(0);
  return UNSPACED.some(([first, last]) => first <= code && code <= last);
}

/**
 * Joins words: "a dog", but "3只狗".
 *
 * @param {string[]} words
 * @return {{text: string, starts: number[]}} The text, and where each word begins.
 */
export function joinWords(words) {
  const starts = [];
  let text = "", close = true;
  for (const word of words) {
    const unspaced = isUnspaced(word);
    if (!close && !unspaced) text += " ";
    starts.push(text.length);
    text += word;
    close = unspaced;
  }
  return {text, starts};
}
