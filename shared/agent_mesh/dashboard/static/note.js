// Signed notes and checkpoints: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint. Ed25519 by WebCrypto.

import { Refused, fromBase64, joined, same, sha256, toHex, utf8 } from "./bytes.js";

const ED25519_NOTE = 1;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const LONGEST = 1_000_000;
const MOST_SIGNATURES = 100;
const NAME = /^[^\s+\p{Cc}]{1,255}$/u;
const SIGNATURE = /^— (\S+) ([A-Za-z0-9+/=]+)$/;
const SIZE = /^(?:0|[1-9][0-9]{0,18})$/;

// A verifier key's one line, `name+id+key`. The id is an address and no proof, and must still be the key's.
export async function parseKey(line) {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line);
  if (!parts || !NAME.test(parts[1])) throw new Refused("malformed_key", "the ledger's key is not written name+id+key");
  const [, name, id, encoded] = parts;
  const raw = fromBase64(encoded);
  if (raw[0] !== ED25519_NOTE || raw.length !== KEY_BYTES + 1) throw new Refused("malformed_key", "the ledger's key is not an Ed25519 key that signs notes");
  const digest = await sha256(utf8(`${name}\n`), raw);
  if (toHex(digest.slice(0, 4)) !== id) throw new Refused("malformed_key", `the id ${id} is not the id of this key`);
  return { line, name, id, publicKey: raw.slice(1) };
}

export function parseNote(note) {
  if (typeof note !== "string" || note.length > LONGEST) throw new Refused("malformed_note", "the checkpoint is no text, or too long a one");
  // eslint-disable-next-line no-control-regex
  if (/[\x00-\x09\x0b-\x1f]/.test(note)) throw new Refused("malformed_note", "the checkpoint has control characters");
  const at = note.lastIndexOf("\n\n");
  if (at < 0 || !note.endsWith("\n")) throw new Refused("malformed_note", "the checkpoint is no signed note");
  const lines = note.slice(at + 2, -1).split("\n");
  if (lines.length > MOST_SIGNATURES) throw new Refused("malformed_note", `a note with ${lines.length} signatures is refused`);
  return { text: note.slice(0, at + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line) {
  const parts = SIGNATURE.exec(line);
  const raw = parts ? fromBase64(parts[2]) : [];
  if (!parts || !NAME.test(parts[1]) || raw.length <= 4) throw new Refused("malformed_note", "a line below the checkpoint is no signature");
  return { name: parts[1], id: toHex(raw.slice(0, 4)), signature: raw.slice(4) };
}

export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length < 3 || lines.some((line) => !line)) throw new Refused("malformed_checkpoint", "the checkpoint is not an origin, a size and a root");
  const [origin, size, root] = lines;
  if (!SIZE.test(size)) throw new Refused("malformed_checkpoint", "the checkpoint's size is no number");
  return { origin, size: BigInt(size), root: fromBase64(root), rootText: root };
}

// Refuses a note that the key has not signed. Returns false where this browser cannot tell: then nobody has checked the
// signature, and whoever shows it must say so.
export async function checkSigned({ text, signatures }, key) {
  const own = signatures.filter(({ name, id }) => name === key.name && id === key.id);
  if (!own.length) throw new Refused("unsigned", `the checkpoint is not signed by the key ${key.name}+${key.id}`);
  const verdicts = await Promise.all(own.map(({ signature }) => verifies(key, utf8(text), signature)));
  if (verdicts.includes(false)) throw new Refused("signature_refused", `the signature under the checkpoint was not made by the key ${key.name}+${key.id}`);
  return !verdicts.includes(null);
}

// Returns the checkpoint that the log of this key has signed; `signed` as above.
export async function openCheckpoint(note, key) {
  const { text, signatures } = parseNote(note);
  const signed = await checkSigned({ text, signatures }, key);
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== key.name) throw new Refused("wrong_origin", `the checkpoint is of the ledger ${checkpoint.origin}, the key is of ${key.name}`);
  const others = signatures.filter(({ name, id }) => name !== key.name || id !== key.id).map(({ name }) => name);
  return { ...checkpoint, note, signed, cosigners: [...new Set(others)] };
}

// True or false; null where the browser has no Ed25519 (WebCrypto has had it in all engines since 2025).
async function verifies(key, message, signature) {
  if (signature.length !== SIGNATURE_BYTES) return false;
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key.publicKey, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    return false;
  }
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

export function sameKey(one, other) {
  return one.name === other.name && same(joined(one.publicKey), joined(other.publicKey));
}
