"""What the clients of this folder that are written in Python have in common. See crew.js, whose words it speaks."""

import asyncio
import json
import os
import sys

PINGS = int(os.environ.get("PINGS", 0)) / 1000


class Own:
    """What a client tells, and what it is told."""

    def __init__(self, who, crew):
        self.who = who
        self.crew = crew
        self.last = 0

    def say(self, **event):
        print("event " + json.dumps({"client": self.who, **event}), flush=True)

    def token(self):
        return self.crew.token

    def feeds(self):
        return list(self.crew.feeds)

    def ready(self):
        self.say(event="ready")

    def gone(self, code, why):
        self.say(event="gone", code=code, why=str(why))

    def refused(self, why):
        self.say(event="refused", why=str(why))

    def push(self, push):
        self.say(event="push", n=push["n"])

    async def reply(self, inquiry):
        self.say(event="asked", n=inquiry["n"], by=inquiry["by"])
        await self.crew.speaks.wait()
        return inquiry


class Crew:
    """All clients; `make(who, url, own)` has an object with `ask`, `feed` and `unfeed`."""

    def __init__(self, make):
        self.make = make
        self.members = []
        self.feeds = []
        self.token = "stale"
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.tasks = set()

    def start(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def asks(self, member, own, left, size):
        while left:
            left.pop()
            own.last += 1
            name = f"{own.who}-{own.last}"
            own.say(event="sent", id=name)
            try:
                answer = await member.ask(name, "x" * size)
                whole = answer["bytes"] == size
                own.say(event="answer", id=name, of=answer["id"], by=answer["by"], whole=whole)
            except Exception as error:
                own.say(event="failed", id=name, why=repr(error))

    def obey(self, line):
        verb, *words = line.split(" ")
        if verb == "connect":
            for number in range(int(words[1]), int(words[2])):
                own = Own(f"c{number}", self)
                self.members.append((self.make(own.who, words[0], own), own))
        elif verb == "token":
            self.token = words[0]
        elif verb == "ask":
            count, window, size = map(int, words)
            for member, own in self.members:
                left = [None] * count
                for _ in range(min(window, count)):
                    self.start(self.asks(member, own, left, size))
        elif verb == "feed":
            self.feeds.append(words[0])
            for member, _ in self.members:
                self.start(member.feed(words[0]))
        elif verb == "unfeed":
            self.feeds.remove(words[0])
            for member, _ in self.members:
                self.start(member.unfeed(words[0]))
        elif verb == "mute":
            self.speaks.clear()
        elif verb == "speak":
            self.speaks.set()


def sail(make):
    async def main():
        crew = Crew(make)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            crew.obey(line.decode().rstrip("\n"))

    asyncio.run(main())
