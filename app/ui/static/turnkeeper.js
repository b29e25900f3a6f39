// Listens to a workspace's event stream and shows feed and chat; sends messages.
"use strict";

const NAMES = [
  "MESSAGE_QUEUED", "CRON_QUEUED", "TURN_CLAIMED", "TURN_DELIVERED", "SESSION_STARTED",
  "TURN_PROGRESS", "AGENT_MESSAGE", "SESSION_CHECKPOINT_REQUESTED", "SESSION_ENDED",
  "CRON_EXECUTED", "CRON_SKIPPED", "CRON_MISSED", "TURN_RETURNED", "TURN_EXPIRED", "TURN_DEAD",
  "TASK_UPDATED", "POLICY_CHANGED", "WRITE_FENCED", "LIMIT_HIT", "WORKSPACE_ONLINE",
  "WORKSPACE_OFFLINE", "WORKSPACE_DEGRADED", "WORKSPACE_CHANGED", "ACTIVITY_LOGGED",
];
const KEPT = 500;

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
  const text = event.payload.text || event.mechanism || event.payload.state || "";
  return `${at}  ${event.event}  ${String(text).slice(0, 200)}`;
}

// Not crypto.randomUUID: browsers have that only over https and on localhost.
function uniqueName() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}

function listen(place) {
  const feed = document.getElementById("feed");
  const chat = document.getElementById("chat");
  const why = document.getElementById("why");
  const source = new EventSource(place.dataset.stream);
  source.addEventListener("snapshot", (message) => {
    why.textContent = JSON.parse(message.data).why.sentence;
  });
  source.addEventListener("gap", (message) => {
    append(feed, `events are missing here (${JSON.parse(message.data).mechanism})`);
  });
  for (const name of NAMES) {
    source.addEventListener(name, (message) => {
      const event = JSON.parse(message.data);
      append(feed, line(event));
      if (name === "AGENT_MESSAGE") append(chat, event.payload.text);
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
    const reply = await fetch(`/workspaces/${place.dataset.workspace}/a2a`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ method: "message/send", params: { message } }),
    });
    const told = await reply.json();
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
