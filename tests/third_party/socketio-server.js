// A Socket.IO server, which keeps nothing of its sockets beyond the process.
//
//   node socketio-server.js NAME PORT
//
// Prints `listening on ADDRESS`. Tells each socket its port as `hello`, and whoever asks for it with `who`.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const port = Number(process.argv[3]);
const server = http.createServer();
const io = new Server(server, { transports: ["websocket"] });

io.on("connection", (socket) => {
  socket.emit("hello", port);
  socket.on("who", (answer) => answer(port));
});
server.listen(port, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${port}`));
process.stdin.on("end", () => process.exit(0)).resume();
