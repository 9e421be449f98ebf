// A Socket.IO server with pages beside it, which keeps nothing of its sockets beyond the process.
//
//   node socketio-server.js NAME PORT
//
// Prints `listening on ADDRESS`. Tells each socket its port as `hello`, and whoever asks for it with `who`, or sends anything to
// `echo`; what one says with `say` is told to all, with its port. If the environment has REDIS, the file of a socket, those at other servers
// hear it too. `/healthz` has the status of the last line `health STATUS` of standard input; `/wait` is answered at each
// line `release`, and `waiting N` is printed for each that begins to wait with others, N in all; any other page is its port.
"use strict";

const http = require("node:http");
const readline = require("node:readline");
const { Server } = require("socket.io");

const port = Number(process.argv[3]);
let health = 200;
let waiting = [];

const server = http.createServer((request, response) => {
  if (request.url === "/healthz") response.writeHead(health).end();
  else if (request.url !== "/wait") response.end(`${port}`);
  else {
    waiting.push(response);
    console.log(`waiting ${waiting.length}`);
  }
});
const io = new Server(server);

io.on("connection", (socket) => {
  socket.emit("hello", port);
  socket.on("who", (answer) => answer(port));
  socket.on("echo", (what, answer) => answer(what));
  socket.on("say", (text) => io.emit("said", text, port));
});

async function join(path) {
  const { createAdapter } = require("@socket.io/redis-adapter");
  const { Redis } = require("ioredis");
  const [to, from] = [new Redis({ path }), new Redis({ path })];
  io.adapter(createAdapter(to, from));
  // What was asked for before has been done by then.
  await Promise.all([to.ping(), from.ping()]);
}

const verbs = {
  health: (status) => (health = Number(status)),
  release: () => waiting.splice(0).forEach((response) => response.end(`${port}`)),
};

Promise.resolve(process.env.REDIS && join(process.env.REDIS)).then(() => {
  server.listen(port, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${port}`));
});
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb, rest] = line.split(" ");
  verbs[verb](rest);
}).on("close", () => process.exit(0));
