// Bytes as the ledger writes them: standard base64, lower case hex, UTF-8.

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

// What went wrong with a proof, told so that a reader can act on it. `code` is one of the ledger's own words.
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.name = "Refused";
    this.code = code;
  }
}

export function utf8(text) {
  // TextEncoder would replace half a surrogate pair, so that two different texts had the same bytes.
  if (!text.isWellFormed()) throw new Refused("malformed", "the text has characters that UTF-8 does not have");
  return new TextEncoder().encode(text);
}

// Only the one standard base64 of some bytes is taken (RFC 4648 section 4): `atob` alone is more lenient.
export function fromBase64(text) {
  if (typeof text !== "string" || !BASE64.test(text)) throw new Refused("malformed", "what should be base64 is not");
  const raw = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (toBase64(raw) !== text) throw new Refused("malformed", "what should be base64 has bits that mean nothing");
  return raw;
}

export function toBase64(raw) {
  return btoa(Array.from(raw, (byte) => String.fromCharCode(byte)).join(""));
}

export function toHex(raw) {
  return Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

// Browsers give WebCrypto to pages of https:// and of this machine only.
export function digests() {
  return Boolean(globalThis.crypto?.subtle);
}

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}
