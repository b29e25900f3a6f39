// A program with @a2a-js/sdk in its default configuration; prints what it was told, as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, home] = process.argv.slice(2);
const find = createRequire(`${home}/package.json`);
const { ClientFactory } = await import(
  pathToFileURL(find.resolve("@a2a-js/sdk/client").replace(/\.cjs$/, ".js"))
);

const STATES = {
  1: "SUBMITTED", 2: "WORKING", 3: "COMPLETED", 4: "FAILED", 5: "CANCELED", 6: "INPUT_REQUIRED",
};

function message(name, text, taskId) {
  const part = { content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "" };
  return {
    tenant: "", configuration: undefined, metadata: undefined,
    message: {
      messageId: name, role: 1, parts: [part], taskId, contextId: "",
      metadata: undefined, extensions: [], referenceTaskIds: [],
    },
  };
}

async function stream(client, name, taskId = "") {
  const told = { states: [], texts: [], task_id: taskId };
  for await (const event of client.sendMessageStream(message(name, "hello", taskId))) {
    const { $case: kind, value } = event.payload;
    if (kind === "task") {
      told.task_id = value.id;
      told.states.push(STATES[value.status.state]);
    } else if (kind === "statusUpdate") {
      told.states.push(STATES[value.status.state]);
    } else if (kind === "artifactUpdate") {
      told.texts.push(...value.artifact.parts.map((part) => part.content.value));
    }
  }
  return told;
}

const client = await new ClientFactory().createFromUrl(url);
const told = {
  silent: await stream(client, "silent-sdk-3"),
  words: await stream(client, "words-sdk-3"),
  asked: await stream(client, "ask-sdk-3"),
};
told.answered = await stream(client, "complete-sdk-3", told.asked.task_id);
const task = await client.getTask({ tenant: "", id: told.asked.task_id });
told.final = STATES[task.status.state];
told.history = task.history.map((one) => one.messageId);
console.log(JSON.stringify(told));
