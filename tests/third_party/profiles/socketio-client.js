// Clients on npm's `socket.io-client`. See crew.js.
"use strict";

const { io } = require("socket.io-client");
const { sail } = require("./crew");

sail((who, url, own) => {
  const socket = io(url.replace("ws:", "http:"), {
    transports: ["websocket"],
    forceNew: true,
    auth: (give) => give({ who, token: own.token() }),
    reconnectionDelay: 100,
    reconnectionDelayMax: 200,
  });
  socket.on("connect", () => {
    own.ready();
    own.feeds.forEach((feed) => socket.emit("feed", feed));
  });
  socket.on("disconnect", (reason, details) => own.gone(details?.context?.code, reason));
  socket.on("connect_error", own.refused);
  socket.on("push", own.push);
  socket.on("inquiry", (inquiry, answer) => own.reply(inquiry).then(answer));
  return {
    // Bytes go as an attachment, in a message of their own.
    ask: (id, filler) => socket.emitWithAck("ask", id, filler && Buffer.from(filler)),
    feed: (feed) => socket.emit("feed", feed),
    unfeed: (feed) => socket.emit("unfeed", feed),
  };
});
