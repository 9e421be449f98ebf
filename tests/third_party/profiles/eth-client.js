// Clients on npm's `ethers`. See crew.js.
"use strict";

const { Network, WebSocketProvider } = require("ethers");
const { sail } = require("./crew");

const EVENTS = { news: "block", spare: "pending" };

sail((who, url, own) => {
  let provider;
  const heard = { news: (n) => own.push({ n }), spare: () => {} };
  // The library does not connect again; its users do it like this.
  const connect = () => {
    const network = Network.from(1337);
    provider = new WebSocketProvider(`${url}/${who}`, network, { staticNetwork: network });
    provider.websocket.on("error", () => {});
    provider.websocket.on("close", (code, reason) => {
      own.gone(code, reason);
      setTimeout(connect, 100);
    });
    provider.websocket.on("open", () => own.ready());
    for (const feed of own.feeds) provider.on(EVENTS[feed], heard[feed]);
  };
  connect();
  return {
    ask: (id, filler) => provider.send("desk_ask", [id, filler]),
    feed: (feed) => provider.on(EVENTS[feed], heard[feed]),
    unfeed: (feed) => provider.off(EVENTS[feed], heard[feed]),
  };
});
