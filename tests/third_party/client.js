// A WebSocket client on npm's `ws`, with its defaults; it offers compression.
//
//   node client.js
//
// Obeys lines of standard input: `connect URL [SUBPROTOCOL...]`, `text TEXT`, `noise LENGTH` (binary),
// `zeros LENGTH` (text), `ping TEXT`, `close CODE REASON`. Prints `event JSON` for each thing it sees.
"use strict";

const { randomBytes } = require("node:crypto");
const readline = require("node:readline");
const WebSocket = require("ws");

let socket;
// The last large message that was sent, to compare its echo with.
let sent;

function report(event) {
  console.log("event " + JSON.stringify(event));
}

function describe(data, isBinary) {
  const event = isBinary ? "binary" : "text";
  if (!isBinary && data.length <= 256) return { event, text: data.toString() };
  return { event, length: data.length, intact: data.equals(Buffer.from(sent)) };
}

function sendLarge(message) {
  sent = message;
  socket.send(message);
}

function connect(url, ...protocols) {
  socket = new WebSocket(url, protocols);
  socket.on("open", () => {
    report({ event: "open", protocol: socket.protocol, compressed: socket.extensions !== "" });
  });
  socket.on("message", (data, isBinary) => report(describe(data, isBinary)));
  socket.on("pong", (data) => report({ event: "pong", text: data.toString() }));
  socket.on("error", (error) => report({ event: "error", text: error.message }));
  socket.on("close", (code, reason) => report({ event: "close", code, reason: reason.toString() }));
}

const verbs = {
  connect: (rest) => connect(...rest.split(" ")),
  text: (rest) => socket.send(rest),
  noise: (rest) => sendLarge(randomBytes(Number(rest))),
  zeros: (rest) => sendLarge("0".repeat(Number(rest))),
  ping: (rest) => socket.ping(rest),
  close: (rest) => socket.close(Number(rest.split(" ")[0]), rest.split(" ").slice(1).join(" ")),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb] = line.split(" ", 1);
  verbs[verb](line.slice(verb.length + 1));
}).on("close", () => process.exit(0));
