// What this browser remembers of the ledger: its key, pinned when it was first seen, and the largest tree that was proved.
//
// The first key is taken as it comes. From then on the server cannot change the key, nor show a tree that is not a
// continuation of the one seen before, without this browser saying so.

import { Refused, fromBase64, same } from "./bytes.js";
import { checkConsistency } from "./merkle.js";
import { openCheckpoint, parseKey, sameKey } from "./note.js";

const KEY = "agent-mesh.ledger.key";
const SEEN = "agent-mesh.ledger.seen";

// `storage` is localStorage or one like it; `ask(from, to)` gives the consistency proof as base64 texts.
export class Trust {
  #storage;
  #ask;

  constructor(storage, ask) {
    this.#storage = storage;
    this.#ask = ask;
  }

  // Returns {key, since, state: "first" | "pinned" | "changed", pinned?}. A changed key is not trusted: `key` is the old one.
  async pin(line, now = Date.now()) {
    const given = await parseKey(line);
    const kept = this.#read(KEY);
    if (!kept) {
      const remembered = this.#write(KEY, { line, since: now });
      return { key: given, since: now, state: remembered ? "first" : "unpinned" };
    }
    const key = await parseKey(kept.line);
    return { key, given, since: kept.since, state: sameKey(key, given) ? "pinned" : "changed" };
  }

  // For a person who has heard of the new key in another way.
  replace(line, now = Date.now()) {
    this.#write(KEY, { line, since: now });
    this.#storage.removeItem(SEEN);
  }

  // Returns a step like those of a receipt: whether this checkpoint and the largest one seen are of one history.
  async follow(checkpoint, key) {
    const kept = this.#read(SEEN);
    const seen = kept && (await this.#opened(kept.note, key));
    if (!seen) {
      this.#keep(checkpoint);
      return { name: "History", outcome: "passed", text: `the first tree that this browser sees has ${checkpoint.size} entries` };
    }
    const [older, newer] = seen.size <= checkpoint.size ? [seen, checkpoint] : [checkpoint, seen];
    await this.#consistent(older, newer);
    if (newer === checkpoint) this.#keep(checkpoint);
    return { name: "History", outcome: "passed", text: `consistent with the tree of ${seen.size} entries that this browser has seen` };
  }

  async #consistent(older, newer) {
    if (older.size === newer.size) {
      if (!same(older.root, newer.root)) throw forked(older, newer);
      return;
    }
    if (older.size === 0n) return;
    const proof = (await this.#ask(older.size, newer.size)).map(fromBase64);
    try {
      await checkConsistency(older.size, newer.size, proof, older.root, newer.root);
    } catch (error) {
      throw error instanceof Refused ? forked(older, newer, error.message) : error;
    }
  }

  // What stands in the storage was written by this page, and perhaps under another key: it is trusted no more than the rest.
  async #opened(note, key) {
    try {
      return await openCheckpoint(note, key);
    } catch (error) {
      if (error instanceof Refused) return null;
      throw error;
    }
  }

  #keep(checkpoint) {
    this.#write(SEEN, { note: checkpoint.note });
  }

  #read(name) {
    try {
      return JSON.parse(this.#storage.getItem(name));
    } catch {
      return null;
    }
  }

  #write(name, value) {
    try {
      this.#storage.setItem(name, JSON.stringify(value));
      return true;
    } catch {
      return false; // storage is full or forbidden: nothing can be pinned then, and nothing else breaks
    }
  }
}

function forked(older, newer, detail = "the roots of the same size differ") {
  return new Refused("fork", `the ledger was rewritten: its tree of ${newer.size} entries does not continue the one of ${older.size} (${detail})`);
}
