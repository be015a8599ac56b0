// How numbers and times are written. Times are the reader's own; the exact UTC stands in `datetime` and in titles.

const COUNT = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function count(number) {
  return COUNT.format(number);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// Money is whole cents on the wire.
export function cents(amount) {
  if (!Number.isFinite(amount)) return "";
  return Math.abs(amount) < 100 ? `${amount} ¢` : `$${COUNT.format(Math.trunc(amount / 100))}.${String(Math.abs(amount) % 100).padStart(2, "0")}`;
}

export function clock(ms) {
  return isMoment(ms) ? CLOCK.format(ms) : "";
}

export function clockWithMs(ms) {
  return isMoment(ms) ? `${CLOCK.format(ms)}.${String(Math.trunc(ms) % 1000).padStart(3, "0")}` : "";
}

export function day(ms) {
  return isMoment(ms) ? DAY.format(ms) : "";
}

export function utc(ms) {
  return isMoment(ms) ? new Date(ms).toISOString() : "";
}

export function duration(ms) {
  if (!(ms >= 0)) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Milliseconds of an RFC 3339 text or of Unix seconds; NaN for anything else.
export function moment(value) {
  if (typeof value === "number") return value * 1000;
  return typeof value === "string" ? Date.parse(value) : NaN;
}

export function words(code) {
  return String(code).replaceAll("_", " ");
}

function isMoment(ms) {
  return Number.isFinite(ms) && Math.abs(ms) < 8.64e15;
}
