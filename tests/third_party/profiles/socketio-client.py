"""Clients on Python's `python-socketio`. See crew.py."""

import asyncio

import socketio

import crew


class Member:
    def __init__(self, who, url, own):
        self.own = own
        self.socket = socketio.AsyncClient(
            reconnection_delay=0.1, reconnection_delay_max=0.2, randomization_factor=0
        )
        self.socket.on("connect", self.connected)
        self.socket.on("disconnect", lambda reason: own.gone(None, reason))
        self.socket.on("connect_error", lambda data: own.refused(data))
        self.socket.on("push", own.push)
        self.socket.on("inquiry", own.reply)
        own.crew.start(
            self.socket.connect(
                url.replace("ws:", "http:"),
                transports=["websocket"],
                auth=lambda: {"who": who, "token": own.token()},
                retry=True,
            )
        )

    async def connected(self):
        self.own.ready()
        for name in self.own.feeds():
            await self.feed(name)

    async def ask(self, name, filler):
        # Bytes go as an attachment, in a message of their own.
        return await self.socket.call("ask", (name, filler.encode() if filler else ""), timeout=60)

    async def feed(self, name):
        await self.socket.emit("feed", name)

    async def unfeed(self, name):
        await self.socket.emit("unfeed", name)


crew.sail(Member)
