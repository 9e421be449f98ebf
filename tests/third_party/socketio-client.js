// Socket.IO clients with their defaults, but for short delays, and cookies, which browsers keep too.
//
//   node socketio-client.js
//
// Obeys lines of standard input, each for the client NAME: `connect NAME URL TRANSPORT[,TRANSPORT] [ADDRESS]`, from that
// address, whatever its host is; `who NAME`, `echo NAME LENGTH`, `say NAME TEXT`, `close NAME`. Prints `event JSON` for each thing that one sees.
"use strict";

const { randomBytes } = require("node:crypto");
const http = require("node:http");
const readline = require("node:readline");

// Where a connection that was kept ends without an answer, Socket.IO's XMLHttpRequest for Node.js asks again, as browsers
// do, but forgets to end what it asks.
const { request } = http;
http.request = (...how) => {
  const asked = request(...how);
  setImmediate(() => asked.end());
  return asked;
};

const { io } = require("socket.io-client");

const sockets = new Map();

// Every host is this one.
function lookup(host, options, done) {
  if (options.all) done(null, [{ address: "127.0.0.1", family: 4 }]);
  else done(null, "127.0.0.1", 4);
}

function connect(client, url, transports, localAddress) {
  const report = (event) => console.log("event " + JSON.stringify({ client, ...event }));
  const socket = io(url, {
    transports: transports.split(","),
    agent: new http.Agent({ keepAlive: Boolean(localAddress), localAddress, lookup }),
    forceNew: true,
    withCredentials: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 200,
  });
  socket.io.on("open", () => {
    socket.io.engine.once("upgrade", ({ name }) => report({ event: "upgrade", transport: name }));
  });
  socket.on("connect", () => report({ event: "connect", transport: socket.io.engine.transport.name }));
  socket.on("connect_error", ({ message, description, context }) => {
    report({ event: "error", message, status: description, body: context?.responseText });
  });
  socket.on("disconnect", (reason, details) => {
    report({ event: "disconnect", reason, code: details?.context?.code });
  });
  socket.on("hello", (port) => report({ event: "hello", port }));
  socket.on("said", (text, port) => report({ event: "said", text, port }));
  sockets.set(client, { socket, report });
}

const verbs = {
  connect,
  who: (name) => {
    const { socket, report } = sockets.get(name);
    socket.emit("who", (port) => report({ event: "who", port, transport: socket.io.engine.transport.name }));
  },
  echo: (name, length) => {
    const { socket, report } = sockets.get(name);
    const sent = { text: "0123456789abcdef".repeat(Number(length) / 16), noise: randomBytes(Number(length)) };
    socket.emit("echo", sent, ({ text, noise }) => {
      report({ event: "echo", length: text.length, intact: text === sent.text && noise.equals(sent.noise) });
    });
  },
  say: (name, ...words) => sockets.get(name).socket.emit("say", words.join(" ")),
  close: (name) => sockets.get(name).socket.close(),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb, ...words] = line.split(" ");
  verbs[verb](...words);
}).on("close", () => process.exit(0));
