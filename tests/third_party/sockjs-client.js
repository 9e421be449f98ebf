// Clients of DDP over SockJS, which begin anew when they are closed, as Meteor's do and SockJS itself does not.
//
//   node sockjs-client.js
//
// Obeys lines of standard input, each for the client NAME: `connect NAME URL TRANSPORT`, `who NAME`, `echo NAME LENGTH`,
// `close NAME`. Prints `event JSON` for each thing that one sees.
"use strict";

const http = require("node:http");
const readline = require("node:readline");

// SockJS's driver for Node.js waits for ever for an answer that breaks off. Browsers say that it is over, and so is it here.
const { request } = http;
http.request = (...how) => request(...how).on("response", (answer) => {
  answer.once("aborted", () => answer.emit("end"));
});

const SockJS = require("sockjs-client");

const clients = new Map();

function connect(name, url, transport) {
  const report = (event) => console.log("event " + JSON.stringify({ client: name, ...event }));
  const socket = new SockJS(`${url}/sockjs`, undefined, { transports: [transport] });
  const client = { socket, asked: new Map(), over: false };
  const said = {
    connected: () => report({ event: "connect", transport: socket.transport }),
    result: ({ id, result }) => report(client.asked.get(id)(result)),
  };
  socket.onopen = () => socket.send(JSON.stringify({ msg: "connect", version: "1", support: ["1"] }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    said[message.msg]?.(message);
  };
  socket.onclose = ({ code, reason }) => {
    report({ event: "disconnect", code, reason });
    if (!client.over) setTimeout(connect, 100, name, url, transport);
  };
  clients.set(name, client);
}

function call(name, method, params, describe) {
  const { socket, asked } = clients.get(name);
  const id = `${asked.size + 1}`;
  asked.set(id, describe);
  socket.send(JSON.stringify({ msg: "method", id, method, params }));
}

const verbs = {
  connect,
  who: (name) => call(name, "who", [], (port) => ({ event: "who", port })),
  echo: (name, length) => {
    const sent = "0123456789abcdef".repeat(Number(length) / 16);
    call(name, "echo", [sent], (got) => ({ event: "echo", length: got.length, intact: got === sent }));
  },
  close: (name) => {
    clients.get(name).over = true;
    clients.get(name).socket.close();
  },
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb, ...words] = line.split(" ");
  verbs[verb](...words);
}).on("close", () => process.exit(0));
