// Forms over the API: the chat, schedules with their next fires before saving, memories.
import { call, tell } from "./actions.js";
import { refreshSoon } from "./live.js";

const ASK_MS = 250;

// Not crypto.randomUUID: browsers have that only over https and on localhost.
function uniqueName() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}

async function send(form) {
  const input = form.elements.text;
  const said = document.getElementById("sent");
  const message = { role: "user", messageId: uniqueName(), parts: [{ kind: "text", text: input.value }] };
  const workspace = document.getElementById("page").dataset.workspace;
  try {
    const told = await call("POST", `/workspaces/${workspace}/a2a`, { method: "message/send", params: { message } });
    said.textContent = told.message ?? "sent";
    input.value = "";
  } catch (error) {
    said.textContent = `not sent: ${error.message}; your text is still here`;
  }
  refreshSoon();
}

async function put(form) {
  const said = form.querySelector(".said");
  try {
    const told = await call(form.dataset.method ?? "POST", form.dataset.api, Object.fromEntries(new FormData(form)));
    tell(told.made !== undefined ? `${told.requested} fires asked for` : "saved");
    if (said) said.textContent = "";
    if (!form.dataset.method) form.reset();
    form.closest("details")?.removeAttribute("open");
  } catch (error) {
    if (said) said.textContent = error.message;
    tell(error.message, true);
  }
  refreshSoon();
}

// What an expression means and when it fires next, while it is typed.
async function preview(form) {
  const place = form.querySelector(".next");
  const { cron_expr: cron, timezone } = Object.fromEntries(new FormData(form));
  if (!cron) return void (place.textContent = "");
  try {
    const told = await call("GET", `/cron/explain?${new URLSearchParams({ expr: cron, timezone, count: 5 })}`);
    const next = told.next.map((at) => at.slice(0, 16).replace("T", " ")).join(", ");
    place.textContent = `${told.description}. Next, UTC: ${next}`;
    place.classList.remove("warn");
  } catch (error) {
    place.textContent = error.message;
    place.classList.add("warn");
  }
}

export function forms() {
  document.addEventListener("submit", (press) => {
    const form = press.target;
    if (form.id !== "send" && !form.dataset.api) return;
    press.preventDefault();
    (form.id === "send" ? send : put)(form);
  });
  document.addEventListener("keydown", (press) => {
    if (press.key !== "Enter" || press.shiftKey || press.target.id !== "text" || press.isComposing) return;
    press.preventDefault();
    press.target.form.requestSubmit();
  });
  let timer = 0;
  const look = (press) => {
    const form = press.target.closest?.("form[data-cron]");
    if (!form) return;
    clearTimeout(timer);
    timer = setTimeout(() => preview(form), ASK_MS);
  };
  document.addEventListener("input", look);
  document.addEventListener("toggle", (press) => {
    const form = press.target.open && press.target.querySelector?.("form[data-cron]");
    if (form) preview(form);
  }, true);
}
