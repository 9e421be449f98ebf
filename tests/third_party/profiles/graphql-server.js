// A server on npm's `graphql-ws`. See desk.js.
"use strict";

const { useServer } = require("graphql-ws/use/ws");
const { WebSocketServer } = require("ws");
const desk = require("./desk");
const { root, schema } = require("./graphql-schema");

const server = new WebSocketServer({ port: desk.port, host: "127.0.0.1" });
useServer({
  schema,
  roots: { query: root, mutation: root, subscription: root },
  context: ({ connectionParams }) => ({ who: connectionParams.who }),
  onConnect: ({ connectionParams: { who, token } }) => desk.login(who, token),
  onClose: (_, code, reason) => {
    if (code >= 4400 && code !== 4403) desk.bad(`${code} ${reason}`);
  },
}, server);
server.on("listening", () => desk.listening(server.address().port));
