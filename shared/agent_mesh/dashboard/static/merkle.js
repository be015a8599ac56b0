// The Merkle tree of RFC 9162 section 2.1, as far as a reader needs it: hashes, and two proofs.
//
// Both proofs are one walk from the root down to a range of leaves. Beside each step lies a sibling, and the siblings'
// hashes are the proof. Sizes are BigInt: a tree has up to 2^63 - 1 leaves.

import { Refused, same, sha256 } from "./bytes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const HASH_BYTES = 32;
const MOST_LEAVES = (1n << 63n) - 1n;

export function leafHash(entry) {
  return sha256(LEAF, entry);
}

export function nodeHash(left, right) {
  return sha256(NODE, left, right);
}

export async function checkInclusion(leaf, index, size, proof, root) {
  const [at, leaves] = [BigInt(index), BigInt(size)];
  if (at < 0n || at >= leaves || leaves > MOST_LEAVES) throw new Refused("out_of_range", `a tree of ${leaves} entries has no entry ${at}`);
  if (leaf.length !== HASH_BYTES) throw new Refused("proof_refused", `the hash of an entry is not ${HASH_BYTES} bytes long`);
  await check(walk(at, at + 1n, leaves), leaf, proof, root);
}

export async function checkConsistency(oldSize, newSize, proof, oldRoot, newRoot) {
  const [before, after] = [BigInt(oldSize), BigInt(newSize)];
  if (before <= 0n || before > after || after > MOST_LEAVES) throw new Refused("out_of_range", `no proof leads from ${before} to ${after} entries`);
  await check(walk(0n, before, after), oldRoot, proof, newRoot);
}

// How many leaves the left child of a node over `width` leaves covers: the largest power of two that is smaller.
function split(width) {
  return 1n << BigInt((width - 1n).toString(2).length - 1);
}

function walk(start, end, size) {
  let [low, high] = [0n, size];
  const siblings = [];
  while (low !== start || high !== end) {
    const middle = low + split(high - low);
    if (end <= middle) {
      siblings.unshift({ onLeft: false, inside: false });
      high = middle;
      continue;
    }
    const straddles = start < middle;
    siblings.unshift({ onLeft: true, inside: straddles });
    low = middle;
    if (straddles) start = middle;
  }
  return siblings;
}

async function check(siblings, innerRoot, proof, root) {
  // Without a sibling inside, the walk ends at the whole range, whose hash the reader has already.
  const whole = !siblings.some(({ inside }) => inside);
  const hashes = [...proof];
  const wanted = siblings.length + (whole ? 0 : 1);
  if (hashes.length !== wanted) throw new Refused("proof_refused", `the proof has ${hashes.length} hashes; this place in a tree of this size needs ${wanted}`);
  if (hashes.length && [innerRoot, root, ...hashes].some(({ length }) => length !== HASH_BYTES)) throw new Refused("proof_refused", `a hash in the proof is not ${HASH_BYTES} bytes long`);
  let inner = whole ? innerRoot : hashes.shift();
  let outer = inner;
  for (const [at, { onLeft, inside }] of siblings.entries()) {
    const beside = hashes[at];
    outer = onLeft ? await nodeHash(beside, outer) : await nodeHash(outer, beside);
    if (inside) inner = await nodeHash(beside, inner);
  }
  if (!same(inner, innerRoot)) throw new Refused("proof_refused", "the proof does not lead to the older root");
  if (!same(outer, root)) throw new Refused("proof_refused", "the proof does not lead to the root that was signed");
}
