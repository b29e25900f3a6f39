// Listens to a workspace's event stream and shows feed and chat; sends messages.
"use strict";

const NAMES = [
  "MESSAGE_QUEUED", "CRON_QUEUED", "TURN_CLAIMED", "TURN_DELIVERED", "SESSION_STARTED",
  "TURN_PROGRESS", "TURN_STALLED", "AGENT_MESSAGE", "SESSION_CHECKPOINT_REQUESTED",
  "SESSION_CANCEL_REQUESTED", "SESSION_CHECKPOINTED", "SESSION_ENDED",
  "CRON_EXECUTED", "CRON_SKIPPED", "CRON_MISSED", "TURN_RETURNED", "TURN_EXPIRED", "TURN_DEAD",
  "TASK_UPDATED", "POLICY_CHANGED", "WRITE_FENCED", "LIMIT_HIT", "WORKSPACE_ONLINE",
  "WORKSPACE_OFFLINE", "WORKSPACE_DEGRADED", "WORKSPACE_CHANGED", "ACTIVITY_LOGGED",
];
const KEPT = 500;
const REFRESH_MS = 400;
// What changes nothing in the sentence, the chip and the tables.
const QUIET = new Set(["TURN_PROGRESS", "ACTIVITY_LOGGED", "WRITE_FENCED"]);
const BAD = new Set(["failed", "force_idled", "canceled", "dead", "expired"]);

function append(list, text, kind) {
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const item = document.createElement("li");
  item.textContent = text;
  if (kind) item.className = kind;
  list.append(item);
  while (list.children.length > KEPT) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function line(event) {
  const at = new Date(event.timestamp).toLocaleTimeString();
  const told = [event.payload.state, event.mechanism].filter((word) => word && word !== "finish");
  const text = event.payload.text || told.join(", ");
  return `${at}  ${event.event}  ${String(text).trim().slice(0, 200)}`;
}

// The page as the server draws it now: its sentence, chip and tables replace ours.
async function refresh() {
  const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!reply.ok) return;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  for (const id of ["why", "status", "tables"]) {
    document.getElementById(id).replaceWith(fresh.getElementById(id));
  }
}

let refreshing = 0;
function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => refresh().catch(() => undefined), REFRESH_MS);
}

// Not crypto.randomUUID: browsers have that only over https and on localhost.
function uniqueName() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}

function listen(place) {
  const feed = document.getElementById("feed");
  const chat = document.getElementById("chat");
  const said = document.getElementById("sent");
  const source = new EventSource(place.dataset.stream);
  let isLost = false;
  source.onopen = () => {
    if (isLost) append(feed, "connected again");
    isLost = false;
    refreshSoon();
  };
  source.onerror = () => {
    if (!isLost) append(feed, "connection lost; trying again …");
    isLost = true;
  };
  source.addEventListener("gap", (message) => {
    append(feed, `events are missing here (${JSON.parse(message.data).mechanism})`);
  });
  for (const name of NAMES) {
    source.addEventListener(name, (message) => {
      const event = JSON.parse(message.data);
      append(feed, line(event));
      if (name === "AGENT_MESSAGE") append(chat, event.payload.text);
      if (name === "SESSION_ENDED" && said) said.textContent = "";
      if (name === "SESSION_ENDED" && BAD.has(event.payload.state)) {
        const reason = event.mechanism === "finish" ? "" : ` (${event.mechanism})`;
        append(chat, `${event.turn_id} ${event.payload.state}${reason}`, "failed");
      }
      if (!QUIET.has(name)) refreshSoon();
    });
  }
}

function sending(place) {
  const form = document.getElementById("send");
  if (!form) return;
  const said = document.getElementById("sent");
  form.addEventListener("submit", async (press) => {
    press.preventDefault();
    const input = document.getElementById("text");
    const message = {
      role: "user", messageId: uniqueName(), parts: [{ kind: "text", text: input.value }],
    };
    let reply, told;
    try {
      reply = await fetch(`/workspaces/${place.dataset.workspace}/a2a`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ method: "message/send", params: { message } }),
      });
      told = await reply.json();
    } catch (error) {
      said.textContent = `not sent: ${error.message}; your text is still here`;
      return;
    }
    said.textContent = reply.ok ? told.message : told.detail;
    if (reply.ok) {
      append(document.getElementById("chat"), input.value, "mine");
      input.value = "";
    }
  });
}

const place = document.querySelector("[data-stream]");
if (place) {
  listen(place);
  sending(place);
}
