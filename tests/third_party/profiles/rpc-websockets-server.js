// A server on npm's `rpc-websockets`. See desk.js.
"use strict";

const { Server } = require("rpc-websockets");
const desk = require("./desk");

const server = new Server({ port: desk.port, host: "127.0.0.1" });

server.setAuth(({ who, token }) => desk.login(who, token));
server.register("ask", ({ id, filler }) => desk.run(id, filler)).protected();
for (const feed of ["news", "spare"]) server.event(feed).protected();

// The library serves subscriptions itself; what it has read is looked at here too.
server.on("connection", (socket) => {
  let who;
  socket.on("message", (data) => {
    const { method, params } = JSON.parse(data);
    if (method === "rpc.login") who = params.who;
    if (method === "rpc.on" && socket._authenticated) {
      for (const feed of params) desk.begin(who, feed, (push) => send(socket, feed, push));
    }
    if (method === "rpc.off") for (const feed of params) desk.end(who, feed);
  });
  socket.on("close", () => desk.part(who));
});

// As the library's `emit`, to one.
function send(socket, feed, push) {
  socket.send(JSON.stringify({ notification: feed, params: [push] }));
}

server.on("listening", () => desk.listening(server.wss.address().port));
