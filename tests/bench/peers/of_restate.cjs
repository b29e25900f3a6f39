// Restate virtual objects: an object per key, a handler that does nothing.
//
// The objects of even keys live in one process, those of odd keys in the other. A handler waits for
// the word to begin, so that all is sent before: the first item of each key waits at its process.
"use strict";

const http = require("node:http");
const { words, item, begin, send } = require("./noting.cjs");

const CLIENTS = 32;
const told = words();

// Restate's kit needs it; Node has it from 22 on.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

async function work() {
  const http2 = require("node:http2");
  const restate = require("@restatedev/restate-sdk");
  let open;
  const opened = new Promise((done) => (open = done));
  const handlers = {
    item: async (context, { at }) => {
      await opened;
      await item(Number(context.key), at, told.holdMs);
    },
  };
  const object = restate.object({ name: `bench${told.process}`, handlers });
  const server = http2.createServer(restate.createEndpointHandler({ services: [object] }));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  await begin(` ${server.address().port}`);
  open();
}

function sendAll() {
  const clients = told.gapMs ? 1 : CLIENTS;
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  const one = (key, at) => {
    const body = JSON.stringify({ at });
    const headers = {
      "content-type": "application/json",
      "content-length": body.length,
      "idempotency-key": `${key}-${at}`,
    };
    const url = `${told.url}/bench${key % 2}/${key}/item/send`;
    return new Promise((done, failed) => {
      const request = http.request(url, { method: "POST", agent, headers }, (answer) => {
        answer.resume();
        const isTaken = answer.statusCode === 202;
        answer.on("end", () => (isTaken ? done() : failed(new Error(`${answer.statusCode}`))));
      });
      request.on("error", failed);
      request.end(body);
    });
  };
  return send(told, one, clients);
}

(told.role === "work" ? work() : sendAll().then(() => process.exit(0))).catch((fault) => {
  console.error(fault);
  process.exit(1);
});
