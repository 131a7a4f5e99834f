// SHA-256. Browsers lend theirs to pages from https:// or localhost only; where a
// page is served otherwise, as in a home network, it is computed here.

// The fractions of the square roots (or cube roots) of primes, 32 bits of each.
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) {
  if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
}
const fractions = (numbers, root) =>
  Uint32Array.from(numbers, (n) => (root(n) % 1) * 2 ** 32);
const START = fractions(PRIMES.slice(0, 8), Math.sqrt);
const CONSTANTS = fractions(PRIMES, Math.cbrt);

/**
 * Returns the SHA-256 of bytes, as 64 digits.
 *
 * @param {Uint8Array} bytes
 * @return {Promise<string>}
 */
export async function sha256(bytes) {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : computed(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Computes the SHA-256 of bytes, as 32 bytes. */
export function computed(bytes) {
  const hash = START.slice(), complete = bytes.length - bytes.length % 64;
  absorb(hash, bytes.subarray(0, complete));
  // The rest, a bit, zeros, and how many bits there were.
  const rest = bytes.subarray(complete);
  const last = new Uint8Array(rest.length < 56 ? 64 : 128);
  last.set(rest);
  last[rest.length] = 128;
  new DataView(last.buffer).setBigUint64(last.length - 8, 8n * BigInt(bytes.length));
  absorb(hash, last);
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, n) => digest.setUint32(4 * n, word));
  return new Uint8Array(digest.buffer);
}

const rotated = (word, bits) => word >>> bits | word << 32 - bits;

function absorb(hash, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = new Int32Array(64);
  for (let block = 0; block < bytes.length; block += 64) {
    for (let n = 0; n < 16; n++) words[n] = view.getInt32(block + 4 * n);
    for (let n = 16; n < 64; n++) {
      const early = words[n - 15], late = words[n - 2];
      words[n] = words[n - 16] + words[n - 7]
        + (rotated(early, 7) ^ rotated(early, 18) ^ early >>> 3)
        + (rotated(late, 17) ^ rotated(late, 19) ^ late >>> 10);
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let n = 0; n < 64; n++) {
      const one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25))
        + (e & f ^ ~e & g) + CONSTANTS[n] + words[n];
      const two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22))
        + (a & b ^ a & c ^ b & c);
      [h, g, f, e, d, c, b, a] = [g, f, e, d + one | 0, c, b, a, one + two | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, n) => { hash[n] += word; });
  }
}
