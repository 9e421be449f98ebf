// A WebSocket server on npm's `ws`, with compression on, which it has off by default.
//
//   node server.js NAME PORT
//
// With TLS if the environment has TLS_CERT and TLS_KEY. Prints `listening on ADDRESS`, then `event JSON` for each thing it sees. Answers each message with itself,
// except for the commands: `!who`, `!close CODE REASON`, `!close`, `!ping TEXT`. Server and client scripts
// of both languages speak the same words.
"use strict";

const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [name, port] = process.argv.slice(2);
const { TLS_CERT, TLS_KEY } = process.env;
const listener = TLS_CERT
  ? https.createServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) })
  : http.createServer();
const server = new WebSocketServer({
  server: listener,
  perMessageDeflate: true,
  handleProtocols: (offers) => (offers.has("chat.v2") ? "chat.v2" : false),
});

function report(event) {
  console.log("event " + JSON.stringify(event));
}

function obey(socket, text) {
  const [verb, ...words] = text.split(" ");
  if (verb === "!who") socket.send(name);
  else if (verb === "!close" && words.length === 0) socket.close();
  else if (verb === "!close") socket.close(Number(words[0]), words.slice(1).join(" "));
  else if (verb === "!ping") ping(socket, words.join(" "));
  else socket.send(text);
}

function ping(socket, text) {
  socket.once("pong", (data) => socket.send(`pong ${data}`));
  socket.ping(text);
}

listener.on("listening", () => console.log(`listening on 127.0.0.1:${listener.address().port}`));
server.on("connection", (socket, request) => {
  report({ event: "open", protocol: socket.protocol, compressed: socket.extensions !== "" });
  if (request.url === "/greet") socket.send(`hello from ${name}\n`);
  socket.on("message", (data, isBinary) => {
    if (isBinary) socket.send(data);
    else obey(socket, data.toString());
  });
  socket.on("error", (error) => report({ event: "error", code: error.code }));
  socket.on("close", (code, reason) => report({ event: "close", code, reason: reason.toString() }));
});
listener.listen(Number(port), "127.0.0.1");
process.stdin.on("end", () => process.exit(0)).resume();
