"""Charge points on Python's `ocpp` and `websockets`. See crew.py."""

import asyncio
import json
import logging

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import crew


class Complaints(logging.Handler):
    """What the library logs as an error is a message that it did not expect."""

    def __init__(self, own):
        super().__init__(logging.ERROR)
        self.own = own

    def emit(self, record):
        self.own.say(event="bad", why=record.getMessage())


class Point(ChargePoint):
    own = None

    @on("DataTransfer")
    async def on_data_transfer(self, vendor_id, data, **_):
        what = json.loads(data)
        if vendor_id == "push":
            self.own.push(what)
            return call_result.DataTransfer(status="Accepted")
        answer = await self.own.reply(what)
        return call_result.DataTransfer(status="Accepted", data=json.dumps(answer))


class Member:
    def __init__(self, who, url, own):
        self.own = own
        self.who = who
        self.point = None
        logging.getLogger("ocpp").addHandler(Complaints(own))
        own.crew.start(self.live(url.replace("ws://", f"ws://{who}:%s@") + f"/{who}"))

    # The library does not connect again; its users do it like this.
    async def live(self, url):
        pings = {"ping_interval": crew.PINGS, "ping_timeout": crew.PINGS} if crew.PINGS else {}
        while True:
            try:
                async with connect(url % self.own.token(), subprotocols=["ocpp1.6"], **pings) as socket:
                    self.point = Point(self.who, socket, response_timeout=60)
                    self.point.own = self.own
                    self.own.ready()
                    await self.point.start()
            except ConnectionClosed as closed:
                self.own.gone(closed.rcvd.code if closed.rcvd else 1006, closed)
            except (OSError, InvalidStatus) as error:
                self.own.refused(error)
            await asyncio.sleep(0.1)

    async def ask(self, name, filler):
        answer = await self.point.call(call.DataTransfer(vendor_id="ask", message_id=name, data=filler))
        return json.loads(answer.data)

    # Central systems push by themselves.
    async def feed(self, name):
        pass

    async def unfeed(self, name):
        pass


crew.sail(Member)
