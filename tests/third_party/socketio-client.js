// A Socket.IO client with its defaults, but for WebSocket as the only transport and short delays.
//
//   node socketio-client.js
//
// Obeys lines of standard input: `connect URL`, `who`. Prints `event JSON` for each thing it sees.
"use strict";

const readline = require("node:readline");
const { io } = require("socket.io-client");

let socket;

function report(event) {
  console.log("event " + JSON.stringify(event));
}

function connect(url) {
  socket = io(url, { transports: ["websocket"], reconnectionDelay: 100, reconnectionDelayMax: 200 });
  socket.on("connect", () => report({ event: "connect" }));
  socket.on("disconnect", (reason, details) => {
    report({ event: "disconnect", reason, code: details?.context?.code });
  });
  socket.on("hello", (port) => report({ event: "hello", port }));
}

const verbs = {
  connect,
  who: () => socket.emit("who", (port) => report({ event: "who", port })),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb] = line.split(" ", 1);
  verbs[verb](line.slice(verb.length + 1));
}).on("close", () => process.exit(0));
