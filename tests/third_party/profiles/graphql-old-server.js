// A server on npm's `subscriptions-transport-ws`. See desk.js.
"use strict";

const http = require("node:http");
const { execute, subscribe } = require("graphql");
const { SubscriptionServer } = require("subscriptions-transport-ws");
const desk = require("./desk");
const { root, schema } = require("./graphql-schema");

const server = http.createServer();
SubscriptionServer.create({
  schema,
  rootValue: root,
  execute,
  subscribe,
  keepAlive: desk.pings,
  onConnect: ({ who, token }) => desk.login(who, token) && { who },
}, { server, path: "/" });
server.listen(desk.port, "127.0.0.1", () => desk.listening(server.address().port));
