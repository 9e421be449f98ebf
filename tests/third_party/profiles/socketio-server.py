"""A server on Python's `python-socketio` and `aiohttp`. See desk.py."""

import asyncio

import socketio
from aiohttp import web

import desk


async def main():
    own = desk.Desk()
    pings = {"ping_interval": desk.PINGS, "ping_timeout": desk.PINGS} if desk.PINGS else {}
    server = socketio.AsyncServer(async_mode="aiohttp", **pings)
    names = {}

    @server.event
    async def connect(sid, environ, auth):
        good = own.login(auth["who"], auth["token"])
        # As one that asks a database.
        await asyncio.sleep(0)
        if not good:
            raise ConnectionRefusedError("expired")
        names[sid] = auth["who"]
        own.meet(auth["who"], lambda inquiry: server.call("inquiry", inquiry, to=sid))

    @server.event
    async def ask(sid, name, filler):
        return await own.run(name, filler)

    @server.event
    async def feed(sid, name):
        own.begin(names[sid], name, lambda push: server.emit("push", push, to=sid))

    @server.event
    async def unfeed(sid, name):
        own.end(names[sid], name)

    @server.event
    async def disconnect(sid, reason):
        if sid in names:
            own.part(names.pop(sid))

    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(desk.PORT))
    await site.start()
    print("listening on 127.0.0.1:%d" % runner.addresses[0][1], flush=True)
    async for line in desk.lines():
        own.obey(line)


asyncio.run(main())
