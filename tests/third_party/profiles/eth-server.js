// A node of JSON-RPC over npm's `ws`, with Ethereum's subscriptions, whose ids are another's at no other node. See desk.js.
"use strict";

const { randomBytes } = require("node:crypto");
const { WebSocketServer } = require("ws");
const desk = require("./desk");

const FEEDS = { newHeads: "news", newPendingTransactions: "spare" };

const server = new WebSocketServer({ port: desk.port, host: "127.0.0.1" });

server.on("connection", (socket, { url }) => {
  const who = url.slice(1);
  const subscriptions = new Map();
  desk.login(who, "");
  const methods = {
    eth_chainId: () => "0x539",
    net_version: () => "1337",
    eth_blockNumber: () => "0x1",
    desk_ask: ([id, filler]) => desk.run(id, filler),
    eth_subscribe: ([kind]) => {
      desk.strike();
      const subscription = "0x" + randomBytes(16).toString("hex");
      subscriptions.set(subscription, FEEDS[kind]);
      // Its id has been told first.
      setImmediate(() => desk.begin(who, FEEDS[kind], ({ n }) => {
        const result = { number: "0x" + n.toString(16) };
        socket.send(JSON.stringify({ jsonrpc: "2.0", method: "eth_subscription", params: { subscription, result } }));
      }));
      return subscription;
    },
    eth_unsubscribe: ([subscription]) => {
      if (!subscriptions.has(subscription)) {
        desk.bad(`eth_unsubscribe of ${subscription}`);
        return false;
      }
      desk.end(who, subscriptions.get(subscription));
      return subscriptions.delete(subscription);
    },
  };
  socket.on("message", async (data) => {
    const { id, method, params } = JSON.parse(data);
    if (!methods[method]) desk.bad(method);
    const result = await methods[method]?.(params ?? []);
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  socket.on("close", () => desk.part(who));
});
server.on("listening", () => desk.listening(server.address().port));
