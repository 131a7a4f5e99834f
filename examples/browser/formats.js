// The formats of photos, told by the first bytes of a file, as in
// `pipelines/images/formats.py`.

const HEAD_BYTES = 64;

// Brands are four bytes each; which of them comes first varies.
const BRANDS = ".{4}ftyp(?:.{4}){0,11}?";

// Of each format how its files begin. Not every browser reads the later ones.
const FORMATS = {
  "JPEG": "\xff\xd8\xff",
  "PNG": "\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
  "WebP": "RIFF.{4}WEBP",
  "GIF": "GIF8[79]a",
  "BMP": "BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
  "AVIF": `${BRANDS}avi[fs]`,
  "TIFF": "II\\*\0|MM\0\\*",
  "JPEG 2000": "\0\0\0\x0cjP  \r\n\x87\n",
  "HEIC": `${BRANDS}(?:hei[cxms]|hev[cxms]|mif1|msf1)`,
};

/** Names of the formats. */
export const NAMES = Object.keys(FORMATS).join(", ");

/** Returns the name of a file's format, or undefined. */
export async function formatOf(file) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const text = String.fromCharCode(...head);
  return Object.keys(FORMATS).find(
    (name) => new RegExp(`^(?:${FORMATS[name]})`, "s").test(text));
}
