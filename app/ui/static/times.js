// Shows every <time> as an age, as local time or as UTC; a click on the button goes to the next.
const MODES = ["age", "local", "UTC"];
const KEPT_AS = "turnkeeper-times";
let mode = MODES.includes(localStorage.getItem(KEPT_AS)) ? localStorage.getItem(KEPT_AS) : "age";

export function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} d`;
}

function shown(at) {
  const utc = at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  if (mode === "UTC") return utc;
  if (mode === "local") return at.toLocaleString();
  const seconds = (Date.now() - at) / 1000;
  return seconds >= 0 ? `${span(seconds)} ago` : `in ${span(seconds)}`;
}

export function draw() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    const text = shown(at);
    if (one.textContent !== text) one.textContent = text;
    one.title = at.toISOString();
  }
}

export function times() {
  const button = document.getElementById("time-mode");
  const told = () => { if (button) button.textContent = `Times: ${mode}`; };
  button?.addEventListener("click", () => {
    mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
    localStorage.setItem(KEPT_AS, mode);
    told();
    draw();
  });
  told();
  draw();
  setInterval(() => { if (!document.hidden) draw(); }, 1000);
}
