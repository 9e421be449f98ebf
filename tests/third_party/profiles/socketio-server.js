// A server on npm's `socket.io`. See desk.js.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");
const desk = require("./desk");

const server = http.createServer();
const io = new Server(server, desk.pings && { pingInterval: desk.pings, pingTimeout: desk.pings });

io.use((socket, next) => {
  const { who, token } = socket.handshake.auth;
  const good = desk.login(who, token);
  // As one that asks a database.
  setImmediate(() => next(good ? undefined : new Error("expired")));
});
io.on("connection", (socket) => {
  const { who } = socket.handshake.auth;
  socket.on("ask", (id, filler, answer) => desk.run(id, filler).then(answer));
  socket.on("feed", (feed) => desk.begin(who, feed, (push) => socket.emit("push", push)));
  socket.on("unfeed", (feed) => desk.end(who, feed));
  socket.on("disconnect", () => desk.part(who));
  socket.on("error", desk.bad);
  desk.meet(who, (inquiry) => socket.emitWithAck("inquiry", inquiry));
});
io.engine.on("connection_error", ({ message }) => desk.bad(message));
server.listen(desk.port, "127.0.0.1", () => desk.listening(server.address().port));
