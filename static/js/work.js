// Finds the number behind a puzzle "salt digest tries": SHA-256 of "salt.number" is the digest (FIPS 180-4).
// A worker of its own, so that the page stays usable. Plain arithmetic: crypto.subtle is missing over plain HTTP.
'use strict';

const START = Int32Array.of(
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const ROUNDS = Int32Array.of(
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2);
const words = new Int32Array(64);

// The SHA-256 of at most 55 ASCII characters, which fit into one block, as eight words; overwritten by the next call.
const digest = new Int32Array(8);
function sha256(text) {
  const w = words;
  w.fill(0, 0, 16);
  for (let i = 0; i < text.length; i++) w[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
  w[text.length >> 2] |= 0x80 << (24 - 8 * (text.length & 3));
  w[15] = 8 * text.length;
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15], y = w[i - 2];
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  let a = START[0], b = START[1], c = START[2], d = START[3], e = START[4], f = START[5], g = START[6], h = START[7];
  for (let i = 0; i < 64; i++) {
    const S1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const S0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
    const t1 = h + S1 + (e & f ^ ~e & g) + ROUNDS[i] + w[i] | 0;
    const t2 = S0 + (a & b ^ a & c ^ b & c) | 0;
    h = g; g = f; f = e; e = d + t1 | 0; d = c; c = b; b = a; a = t1 + t2 | 0;
  }
  digest[0] = START[0] + a; digest[1] = START[1] + b; digest[2] = START[2] + c; digest[3] = START[3] + d;
  digest[4] = START[4] + e; digest[5] = START[5] + f; digest[6] = START[6] + g; digest[7] = START[7] + h;
  return digest;
}

// Tells the share of the work done now and then, and in the end {number}, null if there is none.
onmessage = ({ data }) => {
  const [salt, wanted, size] = data.split(' ');
  const tries = Number(size);
  const target = Int32Array.from(wanted.match(/.{8}/g), (hex) => parseInt(hex, 16));
  for (let number = 0; number < tries; number++) {
    if (number % 32768 === 0) postMessage({ done: number / tries });
    const found = sha256(`${salt}.${number}`);
    if (found[0] === target[0] && target.every((word, i) => word === found[i])) {
      postMessage({ number: String(number) });
      return;
    }
  }
  postMessage({ number: null });
};
