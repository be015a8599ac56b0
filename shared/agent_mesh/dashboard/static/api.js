// Questions to this page's own server. The session stands in a cookie that no script can read.

export class Problem extends Error {
  // `status` is 0 where there was no answer.
  constructor(status, code, message) {
    super(message);
    this.name = "Problem";
    this.status = status;
    this.code = code;
  }
}

const PATIENCE_MS = 20_000;

async function answered(path, accept) {
  let response;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    response = await fetch(path, { headers: { Accept: accept }, credentials: "same-origin", cache: "no-store", redirect: "error", signal });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Problem(0, "unreachable", late ? "The server did not answer within 20 seconds." : "The server cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.code ?? "", problem.detail ?? problem.title ?? `The server answered ${response.status}.`);
}

async function asked(path) {
  return (await answered(path, "application/json")).json();
}

export function session() {
  return asked("/api/session");
}

// `fromIndex` is where the next page of its records begins.
export function transaction(id, fromIndex = null) {
  return asked(`/api/tx/${encodeURIComponent(id)}${fromIndex === null ? "" : `?from_index=${fromIndex}`}`);
}

export function explanation(id) {
  return asked(`/api/tx/${encodeURIComponent(id)}/explanation`);
}

export async function ledgerKey() {
  return (await (await answered("/api/ledger/key", "text/plain")).text()).trim();
}

export async function consistencyProof(from, to) {
  const { proof } = await asked(`/api/ledger/proof/consistency?from=${from}&to=${to}`);
  return Array.isArray(proof) ? proof : [];
}

export function streamUrl(topics) {
  return `/api/stream?${new URLSearchParams(topics.map((topic) => ["topic", topic]))}`;
}

export function signInUrl() {
  return `/auth/login?${new URLSearchParams({ next: `${location.pathname}${location.search}` })}`;
}
