// Clients on npm's `rpc-websockets`. See crew.js.
"use strict";

const { Client } = require("rpc-websockets");
const { sail } = require("./crew");

sail((who, url, own) => {
  const client = new Client(url, { reconnect: true, reconnect_interval: 100, max_reconnects: 0 });
  client.on("open", async () => {
    try {
      await client.login({ who, token: own.token() });
      for (const feed of own.feeds) await client.subscribe(feed);
      own.ready();
    } catch (error) {
      own.refused(error);
    }
  });
  client.on("close", (code, reason) => own.gone(code, reason));
  client.on("error", () => {});
  for (const feed of ["news", "spare"]) client.on(feed, own.push);
  return {
    ask: (id, filler) => client.call("ask", { id, filler }),
    feed: (feed) => client.subscribe(feed).catch(own.refused),
    unfeed: (feed) => client.unsubscribe(feed).catch(own.refused),
  };
});
