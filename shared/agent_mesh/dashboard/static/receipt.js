// What a receipt proves, checked step by step and independently of the server: RFC 9162 inclusion of exactly the entry
// that is shown, in a tree whose root the ledger's own key has signed.

import { Refused, digests, fromBase64, sha256, toHex, utf8 } from "./bytes.js";
import { checkInclusion, leafHash } from "./merkle.js";
import { openCheckpoint } from "./note.js";

const FORMAT = "agent-mesh-receipt/v1";

// Checks the record of one ledger entry, as /api/tx/{id} gives it, and returns
// {state: "proved" | "unsigned" | "pending" | "impossible" | "refused", steps: [{name, outcome, text}], checkpoint?, entry?}.
export async function checkRecord(record, key) {
  if (!digests()) return verdict("impossible", [], "This browser gives cryptography only to pages of https:// or of this machine.");
  if (!record.receipt) return verdict("pending", [], "The ledger has taken the entry and not yet signed a tree that holds it.");
  const steps = [];
  try {
    const passed = (name, text, outcome = "passed") => steps.push({ name, outcome, text });
    const receipt = shaped(record.receipt);
    const leaf = await leafHash(utf8(receipt.entry));
    passed("Entry", `its bytes hash to the leaf ${short(leaf)}`);
    const checkpoint = await openCheckpoint(receipt.checkpoint, key);
    const proof = receipt.proof.map(fromBase64);
    await checkInclusion(leaf, receipt.index, checkpoint.size, proof, checkpoint.root);
    passed("Inclusion", `${proof.length} hashes lead from entry ${receipt.index} to the root ${short(checkpoint.root)} of ${checkpoint.size} entries`);
    if (checkpoint.signed) passed("Signature", `the root is signed by ${key.name}, key ${key.id}`);
    else passed("Signature", "not checked: this browser has no Ed25519. Verify the receipt with “agent-mesh ledger verify”.", "unchecked");
    const entry = await shownEntry(record, receipt);
    passed("Content", "what is shown here is what the entry says");
    return { state: checkpoint.signed ? "proved" : "unsigned", steps, checkpoint, entry };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return verdict("refused", steps, error.message, error.code);
  }
}

function verdict(state, steps, text, code = "") {
  return { state, steps, text, code };
}

function shaped(receipt) {
  const right =
    receipt.format === FORMAT &&
    Number.isSafeInteger(receipt.index) &&
    typeof receipt.entry === "string" &&
    Array.isArray(receipt.proof) &&
    receipt.proof.length <= 63;
  if (!right) throw new Refused("malformed_receipt", "what the server gave as receipt is none");
  return receipt;
}

// A true receipt of another entry would prove nothing about what the page shows.
async function shownEntry(record, receipt) {
  if (record.entry !== undefined && record.entry !== null && record.entry !== receipt.entry) throw mismatch("the entry");
  if (record.index !== receipt.index) throw mismatch("the index");
  const entry = parsed(receipt.entry);
  for (const name of ["id", "tx_id", "event", "actor", "ts"]) {
    if (record[name] !== undefined && record[name] !== entry[name]) throw mismatch(name);
  }
  const payload = entry.payload_digest ? await digested(entry.payload_digest, receipt.payload) : entry.payload;
  if (record.payload !== undefined && record.payload !== null && !equal(record.payload, payload)) throw mismatch("the payload");
  return { ...entry, payload };
}

async function digested(digest, payload) {
  if (typeof payload !== "string") return null;
  const raw = utf8(payload);
  if (raw.length !== digest.size || toHex(await sha256(raw)) !== digest.sha256) throw new Refused("payload_mismatch", "the payload is not the one whose digest the entry has");
  return parsed(payload);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused("malformed_entry", "the entry is not JSON");
  }
}

function mismatch(what) {
  return new Refused("content_mismatch", `the receipt is true, and of something else: ${what} that is shown is not the one that was proved`);
}

function equal(one, other) {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && equal(one[name], other[name]));
}

function short(hash) {
  return `${toHex(hash).slice(0, 12)}…`;
}
