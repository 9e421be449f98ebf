// Clients on npm's `subscriptions-transport-ws`. See crew.js.
"use strict";

const { SubscriptionClient } = require("subscriptions-transport-ws");
const WebSocket = require("ws");
const { sail } = require("./crew");

const ASK = "mutation ($id: ID!, $filler: String!) { ask(id: $id, filler: $filler) { id by bytes } }";
const FEED = "subscription ($name: String!) { feed(name: $name) { n by } }";

const grace = process.env.PINGS && 2 * Number(process.env.PINGS);

sail((who, url, own) => {
  const ends = new Map();
  // The library does not tell its users the code.
  class Told extends WebSocket {
    constructor(...how) {
      super(...how);
      this.on("close", (code, reason) => own.gone(code, reason));
    }
  }
  const client = new SubscriptionClient(url, {
    reconnect: true,
    connectionParams: () => ({ who, token: own.token() }),
    connectionCallback: (error) => error && own.refused(JSON.stringify(error)),
    // How long it waits for a connection at first, which is a second otherwise, and for signs of life.
    minTimeout: grace ?? 20000,
    timeout: grace ?? 30000,
  }, Told);
  client.onConnected(() => own.ready());
  client.onReconnected(() => own.ready());
  client.onError(() => {});
  const feed = (name) => ends.set(name, client.request({ query: FEED, variables: { name } }).subscribe({
    next: ({ data }) => own.push(data.feed),
    error: own.refused,
    complete: () => own.say({ event: "complete", feed: name }),
  }));
  own.feeds.forEach(feed);
  return {
    ask: (id, filler) => new Promise((answer, fail) => {
      let data;
      client.request({ query: ASK, variables: { id, filler } }).subscribe({
        next: (result) => (result.errors ? fail(result.errors[0]) : (data = result.data.ask)),
        error: fail,
        complete: () => answer(data),
      });
    }),
    feed,
    unfeed: (name) => ends.get(name).unsubscribe(),
  };
});
