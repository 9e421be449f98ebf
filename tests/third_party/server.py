"""A WebSocket server on Python's `websockets`, with its defaults, so it compresses, but for the message limit.

    python3 server.py NAME PORT
    python3 server.py NAME /FILE-OF-A-UNIX-DOMAIN-SOCKET

With TLS if the environment has TLS_CERT and TLS_KEY. Speaks the same words as server.js, and `!work MILLISECONDS TEXT`, which takes so long and is reported then.
"""

import asyncio
import json
import os
import ssl
import sys

from websockets.asyncio.server import serve, unix_serve
from websockets.exceptions import ConnectionClosed

NAME, PLACE = sys.argv[1:3]


def report(**event):
    print("event " + json.dumps(event), flush=True)


async def obey(socket, text):
    verb, *words = text.split(" ")
    if verb == "!who":
        await socket.send(NAME)
    elif verb == "!close" and not words:
        # Without an argument it would be 1000.
        await socket.close(None)
    elif verb == "!close":
        await socket.close(int(words[0]), " ".join(words[1:]))
    elif verb == "!work":
        # A handler that awaits something, so the library reads ahead of it.
        await asyncio.sleep(int(words[0]) / 1000)
        report(event="worked", text=" ".join(words[1:]))
    elif verb == "!ping":
        await (await socket.ping(" ".join(words)))
        await socket.send(f"pong {' '.join(words)}")
    else:
        await socket.send(text)


async def handle(socket):
    extensions = socket.response.headers.get("Sec-WebSocket-Extensions", "")
    report(event="open", protocol=socket.subprotocol or "", compressed=extensions != "")
    if socket.request.path == "/greet":
        await socket.send(f"hello from {NAME}\n")
    try:
        async for message in socket:
            if isinstance(message, str):
                await obey(socket, message)
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    report(event="close", code=socket.close_code, reason=socket.close_reason)


def tls():
    if "TLS_CERT" not in os.environ:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["TLS_CERT"], os.environ["TLS_KEY"])
    return context


def listen():
    options = {"subprotocols": ["chat.v2"], "max_size": 16 << 20, "ssl": tls()}
    if PLACE.startswith("/"):
        if os.path.exists(PLACE):
            os.unlink(PLACE)
        return unix_serve(handle, PLACE, **options)
    return serve(handle, "127.0.0.1", int(PLACE), **options)


async def main():
    loop = asyncio.get_running_loop()
    async with listen() as server:
        name = server.sockets[0].getsockname()
        print("listening on " + (name if isinstance(name, str) else f"127.0.0.1:{name[1]}"), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
