// What the clients of this folder have in common.
//
//   node X-client.js
//
// Prints `event JSON` for each thing that a client of the library sees: `ready`, logged in; `gone`, when its connection
// is lost, with the code; `refused`; `sent` and `answer` or `failed` of requests; `push`; `asked` of a server's questions.
// Obeys lines of standard input:
//
//   connect URL FROM TO        clients of these numbers; their names are c0, c1 ...
//   token T                    what they log in with from now on
//   ask COUNT WINDOW BYTES     each client asks so often, with so many requests open
//   feed NAME, unfeed NAME     each client
//   mute, speak                answers to servers are kept, and given
"use strict";

const readline = require("node:readline");

const crew = new Map();
const feeds = new Set();
let token = "stale";
let kept = null;

// `make` is given a name, a URL and what it tells, and returns `{ ask, feed, unfeed, renew }`, of which the last may be absent:
// what is to be done with a new token.
function sail(make) {
  function connect(url, from, to) {
    for (let number = Number(from); number < Number(to); number++) {
      const who = `c${number}`;
      const say = (event) => console.log("event " + JSON.stringify({ client: who, ...event }));
      const own = {
        say,
        token: () => token,
        feeds,
        ready: () => say({ event: "ready" }),
        gone: (code, why) => say({ event: "gone", code, why: String(why ?? "") }),
        refused: (why) => say({ event: "refused", why: String(why?.message ?? why) }),
        push: ({ n }) => say({ event: "push", n }),
        reply: async ({ n, by }) => {
          say({ event: "asked", n, by });
          if (kept) await new Promise((go) => kept.push(go));
          return { n, by };
        },
        last: 0,
      };
      crew.set(who, { ...make(who, url, own), own, who });
    }
  }

  async function asks({ ask, own, who }, left, bytes) {
    while (left.count-- > 0) {
      const id = `${who}-${++own.last}`;
      own.say({ event: "sent", id });
      try {
        const answer = await ask(id, "x".repeat(bytes));
        own.say({ event: "answer", id, of: answer.id, by: answer.by, whole: answer.bytes === bytes });
      } catch (error) {
        own.say({ event: "failed", id, why: String(error?.message ?? JSON.stringify(error)) });
      }
    }
  }

  const verbs = {
    connect,
    token: (next) => {
      token = next;
      crew.forEach(({ renew }) => renew?.(next));
    },
    ask: (count, window, bytes) => {
      for (const member of crew.values()) {
        const left = { count: Number(count) };
        for (let open = 0; open < Math.min(Number(window), Number(count)); open++) asks(member, left, Number(bytes));
      }
    },
    feed: (name) => {
      feeds.add(name);
      crew.forEach(({ feed }) => feed(name));
    },
    unfeed: (name) => {
      feeds.delete(name);
      crew.forEach(({ unfeed }) => unfeed(name));
    },
    mute: () => (kept ??= []),
    speak: () => {
      const all = kept ?? [];
      kept = null;
      all.forEach((go) => go());
    },
  };
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const [verb, ...words] = line.split(" ");
    verbs[verb](...words);
  }).on("close", () => process.exit(0));
}

module.exports = { sail };
