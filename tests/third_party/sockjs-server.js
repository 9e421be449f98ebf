// A server that speaks DDP over SockJS as Meteor's do, and keeps nothing of its sessions beyond the process.
//
//   node sockjs-server.js NAME PORT
//
// Prints `listening on ADDRESS`. It has the methods `who`, which is answered with its port, and `echo`.
"use strict";

const http = require("node:http");
const sockjs = require("sockjs");

const port = Number(process.argv[3]);
const methods = { who: () => port, echo: (what) => what };
const ddp = sockjs.createServer({ prefix: "/sockjs", log: () => {} });

function answers({ msg, id, method, params }) {
  if (msg === "connect") return [{ msg: "connected", session: `${Math.random()}` }];
  if (msg === "method") return [{ msg: "result", id, result: methods[method](...params) }, { msg: "updated", methods: [id] }];
  return msg === "ping" ? [{ msg: "pong", id }] : [];
}

ddp.on("connection", (connection) => {
  connection.write(JSON.stringify({ server_id: "0" }));
  connection.on("data", (text) => {
    for (const answer of answers(JSON.parse(text))) connection.write(JSON.stringify(answer));
  });
});
const server = http.createServer((request, response) => response.end(`${port}`));
ddp.installHandlers(server);
server.listen(port, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${port}`));
process.stdin.on("end", () => process.exit(0)).resume();
