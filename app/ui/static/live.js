// Keeps the page as the server would draw it now: one event stream, and a fresh page at most once
// in data-pace milliseconds. The browser resumes the stream by itself, from the last event's id.
import { draw } from "./times.js";

const NAMES = [
  "snapshot", "MESSAGE_QUEUED", "CRON_QUEUED", "TURN_CLAIMED", "TURN_DELIVERED", "SESSION_STARTED",
  "TURN_PROGRESS", "TURN_KEEPALIVE", "TURN_STALLED", "AGENT_MESSAGE",
  "SESSION_CHECKPOINT_REQUESTED", "SESSION_CANCEL_REQUESTED", "SESSION_CHECKPOINTED",
  "SESSION_ENDED", "CRON_EXECUTED", "CRON_SKIPPED", "CRON_MISSED", "TURN_COALESCED",
  "TURN_RETURNED", "TURN_EXPIRED", "TURN_DEAD", "TASK_UPDATED", "A2A_RESPONSE", "POLICY_CHANGED",
  "POLICY_SEEN", "OPERATOR_ACTED", "WRITE_FENCED", "LIMIT_HIT", "WORKSPACE_ONLINE", "WORKSPACE_OFFLINE",
  "WORKSPACE_DEGRADED", "WORKSPACE_CHANGED", "ACTIVITY_LOGGED",
];
// What changes nothing that the page shows beside the feed.
const QUIET = new Set(["snapshot", "TURN_PROGRESS", "TURN_KEEPALIVE", "ACTIVITY_LOGGED", "WRITE_FENCED"]);
const POLL_MS = 10_000;
const SLOW_MS = 15_000;

let pace = 400;
let timer = 0;
let isAsking = false;
let isStale = false;

// Asks for this page and morphs it in: focus, open details and what is being typed stay.
async function ask() {
  isAsking = true;
  isStale = false;
  try {
    await htmx.ajax("GET", location.href, { target: "#page", select: "#page", swap: "outerMorph" });
    draw();
    scrollChat();
  } finally {
    isAsking = false;
    if (isStale) refreshSoon();
  }
}

export function refreshSoon() {
  isStale = true;
  if (timer || isAsking || document.hidden) return;
  timer = setTimeout(() => { timer = 0; ask().catch(() => undefined); }, pace);
}

function scrollChat() {
  const chat = document.getElementById("chat");
  const count = String(chat?.querySelectorAll("li").length);
  if (chat && chat.dataset.count !== count) chat.scrollTop = chat.scrollHeight;
  if (chat) chat.dataset.count = count;
}

function say(text) {
  const place = document.getElementById("live-state");
  if (place && place.textContent !== text) place.textContent = text;
}

function listen(address, feed) {
  const source = new EventSource(address);
  let polling = 0;
  source.onopen = () => { clearInterval(polling); polling = 0; say("live"); refreshSoon(); };
  source.onerror = () => {
    const isRefused = source.readyState === EventSource.CLOSED;
    say(isRefused ? "polling" : "connection lost; trying again");
    if (!isRefused) return feed.note("connection lost; trying again");
    // Too many streams, or no longer allowed: the page asks instead, and tries the stream again.
    polling ||= setInterval(refreshSoon, POLL_MS);
    setTimeout(() => { clearInterval(polling); listen(address, feed); }, POLL_MS * 3);
  };
  source.addEventListener("gap", (message) => {
    const told = JSON.parse(message.data);
    feed.note(`events are missing here: ${told.mechanism}, limit ${told.limit_count ?? told.limit_s} by ${told.setting}`);
    refreshSoon();
  });
  source.addEventListener("bye", () => say("the server stops; trying again"));
  for (const name of NAMES) {
    source.addEventListener(name, (message) => {
      if (name !== "snapshot") feed.add(JSON.parse(message.data));
      if (!QUIET.has(name)) refreshSoon();
    });
  }
  return source;
}

export function live(feed) {
  const page = document.getElementById("page");
  if (!page) return;
  pace = Number(page.dataset.pace ?? page.dataset.poll ?? 1000);
  if (page.dataset.stream) listen(page.dataset.stream, feed);
  // Ages and meters move though nothing happens.
  setInterval(refreshSoon, page.dataset.stream ? SLOW_MS : pace);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && isStale) refreshSoon(); });
  scrollChat();
}
