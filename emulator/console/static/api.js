// The console's own API; every refusal becomes an Error with a text for a person.

export async function read(name, query = {}) {
  return answer(await reached(fetch(`/_local/${name}?${new URLSearchParams(query)}`)));
}

export async function act(name, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answer(await reached(fetch(`/_local/${name}`, { method: "POST", headers, body: JSON.stringify(body) })));
}

export function followed(topic) {
  return new EventSource(`/_local/messages?${new URLSearchParams({ topic })}`);
}

async function reached(request) {
  try {
    return await request;
  } catch {
    throw new Error("The stack does not answer: is it still running?");
  }
}

async function answer(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}
