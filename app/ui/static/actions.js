// Buttons that change something: each says what it will do, then calls the API that anyone may call.
import { refreshSoon } from "./live.js";

export function tell(text, isBad = false) {
  const place = document.getElementById("told");
  place.textContent = text;
  place.classList.toggle("bad", isBad);
  place.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { place.hidden = true; }, isBad ? 15_000 : 6_000);
}

// The answer of the API, or an error with its own words.
export async function call(method, path, body) {
  const reply = await fetch(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: method === "GET" ? undefined : JSON.stringify(body ?? {}),
  });
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    const rules = (told.errors ?? []).map((one) => `${one.field}: ${one.rule}`).join("; ");
    throw new Error(rules || told.detail || `${reply.status} ${reply.statusText}`);
  }
  return told;
}

function confirm(button) {
  const dialog = document.getElementById("confirm");
  const reason = document.getElementById("confirm-reason");
  const yes = document.getElementById("confirm-yes");
  document.getElementById("confirm-title").textContent = `${button.dataset.title}?`;
  document.getElementById("confirm-text").textContent = button.dataset.confirm;
  reason.hidden = !button.dataset.reason;
  reason.querySelector("input").value = "";
  yes.textContent = button.dataset.title;
  yes.classList.toggle("danger", button.classList.contains("danger"));
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const text = reason.querySelector("input").value;
      done(dialog.returnValue === "yes" ? { reason: text || "from the page" } : null);
    }, { once: true });
  });
}

export function actions() {
  const no = document.getElementById("confirm-no");
  no?.addEventListener("click", () => document.getElementById("confirm").close("no"));
  document.addEventListener("click", async (press) => {
    const button = press.target.closest?.("button[data-post]");
    if (!button) return;
    const body = await confirm(button);
    if (!body) return;
    try {
      const isPlain = button.dataset.method === "DELETE" || /\/(run|resume|replay)$/.test(button.dataset.post);
      await call(button.dataset.method ?? "POST", button.dataset.post, isPlain ? {} : body);
      tell(`${button.dataset.title}: done`);
    } catch (error) {
      tell(`${button.dataset.title}: ${error.message}`, true);
    }
    refreshSoon();
  });
}
