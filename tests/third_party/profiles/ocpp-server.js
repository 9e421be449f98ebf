// A central system on npm's `ocpp-rpc`, which checks every message. See desk.js.
"use strict";

const { RPCServer } = require("ocpp-rpc");
const desk = require("./desk");

const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true, pingIntervalMs: desk.pings ?? 30000 });

server.auth((accept, reject, { identity, password }) => {
  if (desk.login(identity, String(password))) accept();
  else reject(401);
});
server.on("client", (client) => {
  const who = client.identity;
  const call = (vendorId, what) => client.call("DataTransfer", { vendorId, data: JSON.stringify(what) });
  client.handle("DataTransfer", async ({ params }) => {
    return { status: "Accepted", data: JSON.stringify(await desk.run(params.messageId, params.data)) };
  });
  client.on("badMessage", ({ error }) => desk.bad(error));
  client.on("strictValidationFailure", ({ error }) => desk.bad(error));
  client.on("close", () => desk.part(who));
  desk.begin(who, "news", (push) => call("push", push).catch(() => {}));
  desk.meet(who, async (inquiry) => JSON.parse((await call("inquiry", inquiry)).data));
});
server.listen(desk.port, "127.0.0.1").then((http) => desk.listening(http.address().port));
