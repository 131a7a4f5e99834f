// SHA-256 (FIPS 180-4), of bytes in memory.

#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

namespace sha256 {

constexpr uint32_t kConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<uint32_t, 8>;

inline uint32_t rotated(uint32_t word, int bits) {
  return word >> bits | word << (32 - bits);
}

inline void add_block(State& state, const uint8_t* block) {
  uint32_t words[64];
  for (int n = 0; n < 16; n++, block += 4) {
    words[n] = uint32_t(block[0]) << 24 | block[1] << 16 | block[2] << 8 | block[3];
  }
  for (int n = 16; n < 64; n++) {
    uint32_t early = words[n - 15], late = words[n - 2];
    words[n] = words[n - 16] + words[n - 7] +
               (rotated(early, 7) ^ rotated(early, 18) ^ early >> 3) +
               (rotated(late, 17) ^ rotated(late, 19) ^ late >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int n = 0; n < 64; n++) {
    uint32_t one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                   ((e & f) ^ (~e & g)) + kConstants[n] + words[n];
    uint32_t two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                   ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
  }
  const uint32_t added[8] = {a, b, c, d, e, f, g, h};
  for (int n = 0; n < 8; n++) state[n] += added[n];
}

// Returns the digest as 64 digits.
inline std::string digest(const uint8_t* bytes, size_t size) {
  State state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  size_t at = 0;
  for (; size - at >= 64; at += 64) add_block(state, bytes + at);
  // The rest, a bit, zeros, and how many bits there were.
  uint8_t last[128] = {};
  size_t rest = size - at, length = rest < 56 ? 64 : 128;
  if (rest) std::memcpy(last, bytes + at, rest);
  last[rest] = 0x80;
  for (int n = 0; n < 8; n++) last[length - 1 - n] = uint64_t(size) * 8 >> 8 * n;
  for (size_t n = 0; n < length; n += 64) add_block(state, last + n);
  std::string digits;
  for (uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) {
      digits += "0123456789abcdef"[word >> shift & 15];
    }
  }
  return digits;
}

}  // namespace sha256
