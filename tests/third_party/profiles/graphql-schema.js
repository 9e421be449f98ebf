// What both servers of GraphQL serve.
"use strict";

const { buildSchema } = require("graphql");
const desk = require("./desk");

const schema = buildSchema(`
  type Answer { id: ID! by: String! bytes: Int! }
  type Push { n: Int! by: String! }
  type Query { nothing: Int }
  type Mutation { ask(id: ID!, filler: String!): Answer! }
  type Subscription { feed(name: String!): Push! }
`);

// Iterates over what is pushed until its consumer returns.
function feed({ name }, { who }) {
  const queue = [];
  let wake = null;
  let over = false;
  const next = async () => {
    while (queue.length === 0 && !over) await new Promise((go) => (wake = go));
    return over ? { done: true, value: undefined } : { done: false, value: { feed: queue.shift() } };
  };
  const finish = async () => {
    over = true;
    wake?.();
    desk.end(who, name);
    return { done: true, value: undefined };
  };
  desk.begin(who, name, (push) => {
    queue.push(push);
    wake?.();
  });
  return { next, return: finish, throw: finish, [Symbol.asyncIterator]() { return this; } };
}

const root = { ask: ({ id, filler }) => desk.run(id, filler), feed };

module.exports = { schema, root };
