// Walks through the pages as a person would, in Chromium, over its debugging pipe.
// Usage: node smoke.mjs CHROMIUM URL PASSWORD PROFILE
// Needs nothing but Node. With MTA_SCREENSHOTS=DIRECTORY every page is left there as pictures:
// desktop and phone, light and dark.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";

const [chromium, base, password, profile] = process.argv.slice(2);
const pictures = process.env.MTA_SCREENSHOTS;

const browser = spawn(
  chromium,
  [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
    `--user-data-dir=${profile}`, "about:blank",
  ],
  { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] },
);
let complaints = "";
browser.stderr.on("data", (text) => { complaints = (complaints + text).slice(-4000); });
browser.on("exit", (code) => { if (!isOver) fail(new Error(`the browser ended: ${code}\n${complaints}`)); });
let isOver = false;

function fail(error) {
  console.error(error.stack ?? String(error));
  isOver = true;
  browser.kill("SIGKILL");
  process.exit(1);
}

// The protocol: JSON messages with a NUL after each.
const waiting = new Map();
const listeners = new Set();
let serial = 0;
let pending = "";
browser.stdio[4].on("data", (text) => {
  const messages = (pending + text).split("\0");
  pending = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    if (message.id === undefined) {
      for (const listener of [...listeners]) listener(message);
      continue;
    }
    const { resolve, reject } = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }
});

let sessionId;
function send(method, params = {}) {
  const id = ++serial;
  browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function event(method) {
  return new Promise((resolve) => {
    const listener = (message) => {
      if (message.method !== method) return;
      listeners.delete(listener);
      resolve(message.params);
    };
    listeners.add(listener);
  });
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await send("Runtime.evaluate", {
    expression, awaitPromise: true, returnByValue: true,
  });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

// Does something that leads to another page, and waits for that page.
async function follow(action) {
  const loaded = event("Page.loadEventFired");
  await action();
  await loaded;
}

const open = (path) => follow(() => send("Page.navigate", { url: base + path }));
const click = (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
const text = (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)})?.textContent.trim()`);

async function type(selector, value) {
  await evaluate(`document.querySelector(${JSON.stringify(selector)}).focus()`);
  await send("Input.insertText", { text: value });
}

// Pages that must be scrolled sideways.
const tooWide = [];

async function picture(name) {
  if (pictures) mkdirSync(pictures, { recursive: true });
  for (const [device, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]]) {
    await send("Emulation.setDeviceMetricsOverride", {
      width, height, deviceScaleFactor: 1, mobile: device === "phone",
    });
    // Not the inner width: a phone zooms out until all of a page fits.
    const wide = await evaluate(`document.documentElement.scrollWidth - ${width}`);
    const inner = await evaluate('(() => { const r = document.querySelector(".list .scroll"); return r ? r.scrollWidth - r.clientWidth : 0; })()');
    if (inner > 0) tooWide.push(`the list of ${name} is ${inner} pixels too wide on a ${device}`);
    if (wide > 0) tooWide.push(`${name} is ${wide} pixels too wide on a ${device}`);
    for (const scheme of pictures ? ["light", "dark"] : []) {
      const features = [{ name: "prefers-color-scheme", value: scheme }];
      await send("Emulation.setEmulatedMedia", { features });
      const long = await evaluate("document.documentElement.scrollHeight");
      const clip = { x: 0, y: 0, width, height: Math.min(Math.max(long, height), 1800), scale: 1 };
      const shot = { format: "png", captureBeyondViewport: true, clip };
      const { data } = await send("Page.captureScreenshot", shot);
      writeFileSync(`${pictures}/${name}-${device}-${scheme}.png`, Buffer.from(data, "base64"));
    }
  }
  await send("Emulation.clearDeviceMetricsOverride");
  await send("Emulation.setEmulatedMedia", { features: [] });
}

async function walk() {
  const { targetInfos } = await send("Target.getTargets");
  const { targetId } = targetInfos.find((target) => target.type === "page");
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  await send("Page.enable");
  await send("Runtime.enable");
  await send("Log.enable");
  const problems = [];
  listeners.add(({ method, params }) => {
    if (method === "Runtime.exceptionThrown") problems.push(params.exceptionDetails.text);
    // Violations of the content policy, assets that are missing.
    if (method === "Log.entryAdded" && params.entry.level === "error" && !params.entry.text.includes("401")) {
      problems.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    }
  });

  await open("/queue?state=DEFER");
  assert.equal(await text("h1"), "Mail administration", "strangers are asked who they are");
  await picture("login");
  await type('[name="username"]', "eve");
  await type('[name="password"]', "wrong");
  await follow(() => click("button.primary"));
  assert.match(await text(".mistake"), /wrong/);
  await picture("login-wrong");
  await type('[name="password"]', password);
  await follow(() => click("button.primary"));
  assert.equal(await evaluate("location.pathname + location.search"), "/queue?state=DEFER");
  assert.equal(await evaluate('document.querySelector("[name=state][value=DEFER]").checked'), true);
  assert.equal(await evaluate("document.cookie"), "", "the session is out of reach of scripts");

  await open("/queue");
  assert.match(await text(".count"), /^137 messages, showing 1 to 50/);
  assert.equal(await evaluate('[...document.querySelectorAll("time")].every((t) => /^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d$/.test(t.textContent))'), true);
  await picture("queue");
  await click("tbody tr:nth-child(2) details.menu summary");
  await picture("queue-menu");
  await click("body");
  await evaluate('document.querySelectorAll(".filter details").forEach((d) => { d.open = true; })');
  await picture("queue-filter");

  // The whole page by the box in the head, then the question.
  await click("th.mark input");
  assert.equal(await text("[data-selected]"), "(50)");
  await follow(() => click('.bar [value="delete"]'));
  assert.equal(await text("h1"), "Delete 50 messages?");
  await picture("confirm");
  await follow(() => click("button.primary"));
  assert.match(await text(".notice"), /^50 messages deleted\.$/);
  await picture("queue-notice");
  await follow(() => click('[name="scope"][value="all"]').then(() => click('.bar [value="bounce"]')));
  assert.equal(await text("h1"), "Bounce all 137 messages in the queue?");
  await picture("confirm-bounce");

  await open("/queue");
  await follow(() => click("td.c-recipient a"));
  assert.match(await text("dl"), /billing@shop\.example\.com/);
  await picture("message");

  await open("/stats");
  assert.match(await text(".tiles"), /1,204/);
  await picture("stats");
  await open("/queue?age=yesterday");
  assert.match(await text(".mistake"), /yesterday/);
  await picture("queue-mistake");
  await open("/queue?page=99");
  await picture("queue-beyond");
  await open("/queue/message?id=x:1");
  await picture("message-gone");
  assert.deepEqual(problems.filter((problem) => !/ 40[04] /.test(problem)), []);

  // The same without script.
  await send("Emulation.setScriptExecutionDisabled", { value: true });
  await open("/queue?state=HOLD");
  assert.equal(await evaluate('document.querySelector("th.mark input")'), null);
  await click('[name="selected"]');
  await follow(() => click('.bar [value="hold"]'));
  assert.equal(await text("h1"), "Hold 1 message?");
  await follow(() => click("button.primary"));
  assert.match(await text(".notice"), /^1 message put on hold\.$/);
  assert.equal(await evaluate("location.search"), "?state=HOLD");
  await send("Emulation.setScriptExecutionDisabled", { value: false });

  await follow(() => click(".user button"));
  await open("/queue");
  assert.equal(await text("h1"), "Mail administration", "the session is over");
}

try {
  await walk();
  assert.deepEqual(tooWide, []);
  isOver = true;
  browser.kill("SIGKILL");
} catch (error) {
  fail(error);
}
