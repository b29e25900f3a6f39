// BullMQ with a queue per key, one job of it at a time.
//
// BENCH_GATE=place: each queue's only worker lives in one of the two processes. BENCH_GATE=global:
// both processes have a worker for every queue, and the queue's global concurrency is one.
"use strict";

const { Queue, Worker } = require("bullmq");
const IORedis = require("ioredis");
const { words, item, begin, send } = require("./noting.cjs");

const KEYS = 100;
const isGlobal = process.env.BENCH_GATE === "global";
const told = words();
const connection = new IORedis(told.url, { maxRetriesPerRequest: null });

async function work() {
  const workers = [];
  for (let key = 0; key < KEYS; key++) {
    if (isGlobal && told.process === 0) {
      const queue = new Queue(`bench-${key}`, { connection });
      await queue.setGlobalConcurrency(1);
    }
    if (!isGlobal && key % 2 !== told.process) continue;
    const one = (job) => item(job.data.key, job.data.at, told.holdMs);
    workers.push(new Worker(`bench-${key}`, one, { connection, concurrency: 1, autorun: false }));
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  await begin();
  for (const worker of workers) worker.run();
}

async function sendAll() {
  const queues = Array.from({ length: told.keys }, (_, key) => {
    return new Queue(`bench-${key}`, { connection });
  });
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));
  await send(told, (key, at) => {
    return queues[key].add("item", { key, at }, { removeOnComplete: true });
  });
}

(told.role === "work" ? work() : sendAll().then(() => process.exit(0))).catch((fault) => {
  console.error(fault);
  process.exit(1);
});
