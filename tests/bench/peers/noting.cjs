// What a peer's Node process says of its work: the same lines as noting.py.
"use strict";

const FLUSH_MS = 20;
const nowNs = () => process.hrtime.bigint();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** `work URL HOLD_MS PROCESS` or `send URL KEYS ITEMS GAP_MS`. */
function words() {
  const [role, url, ...more] = process.argv.slice(2);
  if (role === "work") return { role, url, holdMs: Number(more[0]), process: Number(more[1]) };
  const [keys, items, gapMs] = more.map(Number);
  return { role, url, keys, items, gapMs };
}

let lines = [];

/** The work of one item: nothing, or to hold it for a moment. */
async function item(key, at, holdMs) {
  const begun = nowNs();
  if (holdMs) await pause(holdMs);
  lines.push(`${key} ${at} ${begun} ${nowNs()}\n`);
}

/** Say that this process is ready, wait for the word, tell from now on. */
function begin(more = "") {
  process.stdout.write(`ready${more}\n`);
  return new Promise((done) => {
    process.stdin.once("end", () => process.exit()); // nobody is left to end this process
    process.stdin.once("data", () => {
      setInterval(() => {
        if (lines.length) process.stdout.write(lines.splice(0).join(""));
      }, FLUSH_MS);
      done();
    });
  });
}

function* places(told) {
  for (let n = 0; n < told.keys * told.items; n++) {
    yield [n % told.keys, Math.floor(n / told.keys)];
  }
}

/** Send each item; a key's one after another, by so many clients that have keys of their own. */
async function send(told, one, clients = 1) {
  const client = async (own) => {
    for (const [key, at] of places(told)) {
      if (key % clients !== own) continue;
      if (told.gapMs) await pause(told.gapMs);
      const sent = nowNs();
      await one(key, at);
      lines.push(`${key} ${at} ${sent} ${nowNs()}\n`);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, own) => client(own)));
  await new Promise((done) => process.stdout.write(lines.join(""), done));
}

module.exports = { words, item, begin, send };
