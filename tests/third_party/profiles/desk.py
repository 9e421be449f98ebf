"""What the servers of this folder that are written in Python have in common. See desk.js, whose words it speaks."""

import asyncio
import json
import os
import signal
import sys

NAME, PORT, *ORDERS = sys.argv[1:]
PINGS = int(os.environ.get("PINGS", 0)) / 1000


def report(**event):
    print("event " + json.dumps(event), flush=True)


class Desk:
    """Its state, and what is done by orders."""

    def __init__(self):
        self.feeds = {}
        self.clients = {}
        self.released = asyncio.Event()
        self.released.set()
        self.wanted = None
        self.dies = False
        self.tasks = set()
        for line in ORDERS:
            self.obey(line)

    def login(self, who, token):
        report(event="login", who=who, token=token)
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.wanted in (None, token)

    async def run(self, ask, filler):
        report(event="ran", id=ask)
        await self.released.wait()
        report(event="answered", id=ask)
        return {"id": ask, "by": NAME, "bytes": len(filler)}

    def begin(self, who, feed, push):
        report(event="begun", who=who, feed=feed)
        self.feeds[who, feed] = push

    def end(self, who, feed):
        if self.feeds.pop((who, feed), None):
            report(event="ended", who=who, feed=feed)

    def meet(self, who, ask):
        self.clients[who] = ask

    def part(self, who):
        self.clients.pop(who, None)
        for key in [key for key in self.feeds if key[0] == who]:
            self.end(*key)

    async def inquire(self, who, ask, n):
        try:
            answer = await ask({"n": n, "by": NAME})
            report(event="told", who=who, n=n, of=answer["n"], by=answer["by"])
        except Exception as error:
            report(event="untold", who=who, n=n, why=str(error))

    def start(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def obey(self, line):
        verb, *words = line.split(" ")
        if verb == "hold":
            self.released.clear()
        elif verb == "release":
            self.released.set()
        elif verb == "push":
            for push in self.feeds.values():
                self.start(push({"n": int(words[0]), "by": NAME}))
        elif verb == "inquire":
            for who, ask in self.clients.items():
                self.start(self.inquire(who, ask, int(words[0])))
        elif verb == "dies":
            self.dies = True
        elif verb == "wants":
            self.wanted = words[0]
        report(event="obeyed", line=line)


async def lines():
    """Each line of standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")
