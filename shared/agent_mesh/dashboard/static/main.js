// Puts the page together: who is signed in, where the reader is, the one stream, and the two views.

import { session, signInUrl, streamUrl } from "./api.js";
import { button, byId, card, element, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import { startKeys } from "./keys.js";
import { LiveView } from "./live-view.js";
import { followPlace, currentPlace, goBack } from "./place.js";
import { Proofs } from "./proofs.js";
import { StateView } from "./state-view.js";
import { StoryView } from "./story-view.js";
import { LiveStream } from "./stream.js";
import { startTheme } from "./theme.js";

const WANTED = ["mesh.**", "access.intent"];
const WARNED_MS = 5 * 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const story = new StoryView(new Proofs(() => showPlace(currentPlace())), goBack);
const live = new LiveView((rows) => story.heard(rows));
const state = new StateView(() => (stream ? (stream.hurry(), stream.start()) : start()));
let stream = null;

function showPlace(place) {
  if (!stream) return;
  if (place.name === "story") {
    live.hide();
    story.show(place.id);
    return;
  }
  const came = story.id;
  story.hide();
  live.show(place.query);
  document.title = "Live · Agent Mesh";
  if (came) live.focusList();
}

function watch(topics) {
  const asked = WANTED.filter((topic) => topics.includes(topic) || topics.includes("**"));
  stream = new LiveStream(streamUrl(asked.length ? asked : topics.slice(0, 16)), {
    message: (text) => live.hear(text),
    gap: ({ topic, reason }) => {
      const about = topic ? ` of ${topic}` : "";
      live.mark("gap", `Messages${about} may be missing here: ${GAPS[reason] ?? "the server cannot tell what came meanwhile"}`);
      state.note(`messages${about} may be missing`);
    },
    restored: (lostAt) => {
      const away = duration(Date.now() - lostAt);
      live.mark("lost", `The connection was lost at ${clock(lostAt)} for ${away}. What came meanwhile follows, unless a gap is told of.`);
      state.note(`back at ${clock(Date.now())}, after ${away}`);
    },
    state: (now) => {
      state.show(now);
      if (now.name === "live") live.connected();
      if (now.name === "signed_out") signedOut();
    },
  });
  stream.start();
}

const GAPS = {
  __proto__: null,
  too_old: "more was published than the relay keeps",
  unknown: "the relay does not know where this page was",
  cursor_full: "there were more topics than the relay remembers for one page",
};

async function start() {
  byId("whole").hidden = true;
  state.show({ name: "connecting", since: Date.now() });
  try {
    const who = await session();
    signedIn(who);
    watch(Array.isArray(who.topics) ? who.topics : []);
    showPlace(currentPlace());
  } catch (error) {
    notStarted(error);
  }
}

function notStarted(error) {
  const signIn = element("a", { class: "button", href: signInUrl() }, "Sign in");
  const views = {
    401: ["signed_out", () => card("Sign in to watch the mesh", ["Here you see intents, decisions, tasks and the ledger as they happen, and can check the proof of each.", "You need an account that whoever runs this mesh has let in."], signIn)],
    403: ["forbidden", () => card("You may not see this mesh", [error.message, "Whoever runs it can add your address to its viewers."], element("a", { class: "button", href: `${signInUrl()}&prompt=select_account` }, "Use another account"))],
  };
  if (!error.status && error.name !== "Problem") console.error(error);
  const [name, view] = views[error.status] ?? ["refused", () => card("The dashboard cannot start", error.message, button("Try again", start))];
  state.show({ name, since: Date.now(), reason: name === "refused" ? error.message : "" });
  byId("whole").replaceChildren(view());
  byId("whole").hidden = false;
}

function signedIn({ email = "", signed_in_until: until = null }) {
  setText(byId("email"), email);
  byId("email").title = email;
  byId("account").hidden = !email;
  if (typeof until !== "number") return;
  const left = until * 1000 - Date.now();
  setTimeout(() => state.note("the session ends in 5 minutes"), Math.min(Math.max(0, left - WARNED_MS), LONGEST_TIMER_MS));
}

// What was heard stays in sight; only nothing new comes.
function signedOut() {
  live.mark("lost", "The session has ended: sign in again to see what comes.");
  byId("account").hidden = true;
}

startTheme();
startKeys({
  search: () => live.search(),
  togglePause: () => live.togglePause(),
  focusList: () => live.focusList(),
  back: goBack,
  inStory: () => Boolean(story.id),
});
followPlace(showPlace);
addEventListener("online", () => stream?.hurry());
addEventListener("pagehide", () => stream?.stop());
addEventListener("pageshow", (event) => event.persisted && stream?.start());
start();
