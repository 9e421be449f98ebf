// Charge points on npm's `ocpp-rpc`, which check every message. See crew.js.
"use strict";

const { RPCClient } = require("ocpp-rpc");
const { sail } = require("./crew");

sail((who, endpoint, own) => {
  const client = new RPCClient({
    endpoint,
    identity: who,
    password: own.token(),
    protocols: ["ocpp1.6"],
    strictMode: true,
    callTimeoutMs: 60000,
    pingIntervalMs: Number(process.env.PINGS) || 30000,
    backoff: { initialDelay: 100, maxDelay: 200 },
  });
  client.handle("DataTransfer", async ({ params }) => {
    const what = JSON.parse(params.data);
    if (params.vendorId === "push") own.push(what);
    else return { status: "Accepted", data: JSON.stringify(await own.reply(what)) };
    return { status: "Accepted" };
  });
  client.on("open", () => own.ready());
  client.on("disconnect", ({ code, reason }) => own.gone(code, reason));
  client.on("badMessage", ({ error }) => own.say({ event: "bad", why: String(error) }));
  client.on("strictValidationFailure", ({ error }) => own.say({ event: "bad", why: String(error) }));
  client.connect().catch(own.refused);
  return {
    ask: async (id, filler) => {
      const { data } = await client.call("DataTransfer", { vendorId: "ask", messageId: id, data: filler });
      return JSON.parse(data);
    },
    // Central systems push by themselves.
    feed: () => {},
    unfeed: () => {},
    renew: (password) => client.reconfigure({ password }),
  };
});
