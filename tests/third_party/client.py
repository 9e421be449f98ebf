"""A WebSocket client on Python's `websockets`, with its defaults, so it offers compression, but for the message limit.

    python3 client.py

Speaks the same words as client.js.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def report(**event):
    print("event " + json.dumps(event), flush=True)


class Sent:
    """The last large message that was sent, to compare its echo with."""

    last = None


def describe(message):
    kind = "text" if isinstance(message, str) else "binary"
    if kind == "text" and len(message) <= 256:
        return {"event": kind, "text": message}
    return {"event": kind, "length": len(message), "intact": message == Sent.last}


async def send_large(socket, message):
    Sent.last = message
    await socket.send(message)


async def read(socket):
    try:
        async for message in socket:
            report(**describe(message))
    except ConnectionClosed:
        pass
    report(event="close", code=socket.close_code, reason=socket.close_reason)


async def ping(socket, text):
    waiter = await socket.ping(text)
    await waiter
    report(event="pong", text=text)


async def obey(socket, verb, rest):
    if verb == "text":
        await socket.send(rest)
    elif verb == "noise":
        await send_large(socket, os.urandom(int(rest)))
    elif verb == "zeros":
        await send_large(socket, "0" * int(rest))
    elif verb == "ping":
        await ping(socket, rest)
    elif verb == "close":
        code, _, reason = rest.partition(" ")
        await socket.close(int(code), reason)
    else:
        raise ValueError(f"unknown command {verb}")


async def main():
    loop = asyncio.get_running_loop()
    socket = reader = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "connect":
            url, *protocols = rest.split(" ")
            socket = await connect(url, subprotocols=protocols or None, max_size=16 << 20)
            extensions = socket.response.headers.get("Sec-WebSocket-Extensions", "")
            report(event="open", protocol=socket.subprotocol or "", compressed=extensions != "")
            reader = asyncio.create_task(read(socket))
        else:
            await obey(socket, verb, rest)
    if reader:
        reader.cancel()


asyncio.run(main())
