// The feed of events: the newest 10,000 are kept, the newest 500 that pass the filter are drawn.
const KEPT = 10_000;
const DRAWN = 500;

function line(event) {
  const at = new Date(event.timestamp).toLocaleTimeString();
  const told = [event.payload.state, event.mechanism].filter((word) => word && word !== "finish");
  const text = event.payload.text || event.payload.reason || told.join(", ");
  return `${at}  ${event.event}  ${String(text ?? "").trim().slice(0, 200)}`;
}

export function feed() {
  const box = document.getElementById("feed");
  if (!box) return { add: () => undefined, note: () => undefined };
  const list = box.querySelector("ol");
  const filter = document.getElementById("feed-filter");
  const pause = document.getElementById("feed-pause");
  const told = document.getElementById("feed-told");
  let kept = [];
  let isPaused = false;
  let behind = 0;
  let waiting = [];

  const passes = (one) => !filter.value.trim()
    || filter.value.split(",").some((part) => one.search.includes(part.trim().toLowerCase()));

  function row(one) {
    const item = document.createElement("li");
    item.textContent = one.text;
    if (one.kind) item.className = one.kind;
    return item;
  }

  function drawAll() {
    const some = kept.filter(passes).slice(-DRAWN);
    list.replaceChildren(...some.map(row));
    box.scrollTop = box.scrollHeight;
  }

  // One change of the page for all that came within a frame.
  function drawWaiting() {
    const some = waiting.filter(passes).slice(-DRAWN);
    waiting = [];
    if (!some.length) return;
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
    list.append(...some.map(row));
    while (list.childElementCount > DRAWN) list.firstElementChild.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  function take(one) {
    kept.push(one);
    if (kept.length > KEPT * 1.1) kept = kept.slice(-KEPT);
    if (isPaused) {
      behind += 1;
      told.textContent = `${behind} more since`;
      return;
    }
    if (!waiting.length) requestAnimationFrame(drawWaiting);
    waiting.push(one);
  }

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    behind = 0;
    told.textContent = "";
    if (!isPaused) drawAll();
  });
  filter.addEventListener("input", drawAll);
  return {
    add: (event) => {
      const ids = [event.turn_id, event.session_id].filter(Boolean).join(" ");
      const text = line(event);
      take({ text, search: `${text} ${ids}`.toLowerCase(), kind: event.event === "LIMIT_HIT" ? "warn" : "" });
    },
    note: (text) => take({ text, search: text.toLowerCase(), kind: "note" }),
  };
}
