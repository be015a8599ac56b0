// How long to wait before the next attempt: exponential with full jitter, so that a thousand pages that lost the same
// server do not come back in the same second.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

export function delayMs(attempt, random = Math.random) {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(most / 2 + (most / 2) * random());
}

// Seconds of a Retry-After header (RFC 9110 section 10.2.3), its date form left out: nothing of ours sends it.
export function retryAfterMs(header) {
  return /^[0-9]{1,4}$/.test(header ?? "") ? Number(header) * 1000 : 0;
}
