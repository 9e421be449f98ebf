// What the servers of this folder have in common.
//
//   node X-server.js NAME PORT [ORDER]...
//
// Prints `listening on ADDRESS`, then `event JSON` for each thing that it sees or does, before it goes on: `login`, `ran` and
// `answered` of requests, `begun` and `ended` of feeds, `told` of its own questions, `bad` of what its protocol does not allow.
// Obeys ORDERs, and lines of standard input, each of which is `obeyed`:
//
//   hold        answers are kept until `release`
//   push N      to all feeds
//   inquire N   asks every client
//   dies        it kills itself when it has read the next login, before the answer
//   wants T     only logins with this token are good
"use strict";

const readline = require("node:readline");

const [name, port, ...orders] = process.argv.slice(2);
const feeds = new Map();
const clients = new Map();
let held = null;
let wanted = null;
let dies = false;

function report(event) {
  console.log("event " + JSON.stringify(event));
}

// Where a login has been read.
function strike() {
  if (dies) process.kill(process.pid, "SIGKILL");
}

// Whether it is good.
function login(who, token) {
  report({ event: "login", who, token });
  strike();
  return wanted === null || token === wanted;
}

// Handles a request. `filler` is of any type with a length.
async function run(id, filler) {
  report({ event: "ran", id });
  if (held) await new Promise((go) => held.push(go));
  report({ event: "answered", id });
  return { id, by: name, bytes: filler?.byteLength ?? filler?.length ?? 0 };
}

// `push` is given each `{ n, by }` until the feed ends.
function begin(who, feed, push) {
  report({ event: "begun", who, feed });
  feeds.set(`${who} ${feed}`, push);
}

function end(who, feed) {
  if (feeds.delete(`${who} ${feed}`)) report({ event: "ended", who, feed });
}

// `ask` is given `{ n, by }`, and promises the client's answer, of the same shape.
function meet(who, ask) {
  clients.set(who, ask);
}

// All that `push` wrote for is over with the connection.
function part(who) {
  clients.delete(who);
  for (const key of [...feeds.keys()]) if (key.startsWith(`${who} `)) end(...key.split(" "));
}

function bad(why) {
  report({ event: "bad", why: String(why) });
}

function inquire(n) {
  for (const [who, ask] of clients) {
    ask({ n, by: name }).then(
      (answer) => report({ event: "told", who, n, of: answer.n, by: answer.by }),
      (error) => report({ event: "untold", who, n, why: String(error) }),
    );
  }
}

function release() {
  const all = held ?? [];
  held = null;
  all.forEach((go) => go());
}

const verbs = {
  hold: () => (held ??= []),
  release,
  push: (n) => feeds.forEach((push) => push({ n: Number(n), by: name })),
  inquire: (n) => inquire(Number(n)),
  dies: () => (dies = true),
  wants: (token) => (wanted = token),
};

function obey(line) {
  const [verb, ...words] = line.split(" ");
  verbs[verb](...words);
  report({ event: "obeyed", line });
}

orders.forEach(obey);
readline.createInterface({ input: process.stdin }).on("line", obey).on("close", () => process.exit(0));

function listening(given) {
  console.log(`listening on 127.0.0.1:${given ?? port}`);
}

// What a protocol allows of signs of life, in milliseconds, if a test has said so.
const pings = Number(process.env.PINGS) || undefined;

module.exports = { name, port: Number(port), pings, report, strike, login, run, begin, end, meet, part, bad, listening };
