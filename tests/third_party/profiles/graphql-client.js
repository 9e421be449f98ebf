// Clients on npm's `graphql-ws`. See crew.js.
"use strict";

const { createClient } = require("graphql-ws");
const WebSocket = require("ws");
const { sail } = require("./crew");

const ASK = "mutation ($id: ID!, $filler: String!) { ask(id: $id, filler: $filler) { id by bytes } }";
const FEED = "subscription ($name: String!) { feed(name: $name) { n by } }";

const pings = Number(process.env.PINGS) || 0;

sail((who, url, own) => {
  let patience;
  const ends = new Map();
  const client = createClient({
    url,
    webSocketImpl: WebSocket,
    lazy: false,
    connectionParams: () => ({ who, token: own.token() }),
    retryAttempts: 100,
    retryWait: () => new Promise((go) => setTimeout(go, 100)),
    onNonLazyError: (error) => own.refused(error),
    keepAlive: pings,
    on: {
      connected: () => own.ready(),
      closed: ({ code, reason }) => {
        clearTimeout(patience);
        own.gone(code, reason);
      },
      // As the recipe for clients that ping: who gets no pong, terminates.
      ping: (received) => {
        if (!received) patience = setTimeout(() => client.terminate(), pings);
      },
      pong: (received) => {
        if (received) clearTimeout(patience);
      },
    },
  });
  const feed = (name) => ends.set(name, client.subscribe({ query: FEED, variables: { name } }, {
    next: ({ data }) => own.push(data.feed),
    error: own.refused,
    complete: () => own.say({ event: "complete", feed: name }),
  }));
  own.feeds.forEach(feed);
  return {
    ask: (id, filler) => new Promise((answer, fail) => {
      let data;
      client.subscribe({ query: ASK, variables: { id, filler } }, {
        next: (result) => (result.errors ? fail(result.errors[0]) : (data = result.data.ask)),
        error: fail,
        complete: () => answer(data),
      });
    }),
    feed,
    unfeed: (name) => ends.get(name)(),
  };
});
