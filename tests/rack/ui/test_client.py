"""The connection: what it hands on, and how it comes back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from rack import __version__
from rack.protocol import Notice, Snapshot, Telemetry, Turned, frame
from rack.ui import client as module
from rack.ui.client import Client

from .fake import FakeServer, levels


class Heard:
    """A client, and all it was told."""

    def __init__(self, path):
        self.messages: list = []
        self.links: list[str] = []
        self.client = Client(str(path), self.messages.append, self.links.append)

    async def until(self, true) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.005)

    async def connected(self) -> None:
        await self.until(lambda: self.client.connected)


@asynccontextmanager
async def listening(path):
    heard = Heard(path)
    task = asyncio.create_task(heard.client.run())
    try:
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_hello_snapshot_and_changes(tmp_path):
    async with FakeServer(tmp_path / "s") as server, listening(server.path) as heard:
        await heard.connected()
        assert server.hellos[0].version == __version__ and heard.links == [""]
        assert isinstance(heard.messages[0], Snapshot) and heard.messages[0].view.rack == "plexi lead"
        assert heard.client.set("delay.mix", 0.4, gesture=3)
        await heard.until(lambda: isinstance(heard.messages[-1], Turned))
        assert (heard.messages[-1].key, heard.messages[-1].value) == ("delay.mix", 0.4)
        assert server.sets[0].gesture == 3 and server.sets[0].request == 0


async def test_only_the_latest_telemetry_is_kept(tmp_path):
    async with FakeServer(tmp_path / "s") as server, listening(server.path) as heard:
        await heard.connected()
        for step in range(5):
            server.push(levels(step))
        server.send(Notice("info", "done"))
        await heard.until(lambda: heard.messages[-1:] == [Notice("info", "done")])
        assert heard.client.telemetry == levels(4)
        assert not any(isinstance(message, Telemetry) for message in heard.messages)


async def test_answers(tmp_path):
    async with FakeServer(tmp_path / "s") as server, listening(server.path) as heard:
        await heard.connected()
        server.refuse["source"] = "no such file"
        good, bad = await asyncio.gather(heard.client.ask("save", ""), heard.client.ask("source", "file:/x"))
        assert good.error == "" and bad.error == "no such file"
        assert (await heard.client.ask("models", read=True)).value[0] == "/models/plexi-drive.nam"


async def test_it_comes_back_and_subscribes_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)
    server = FakeServer(tmp_path / "s")
    async with listening(server.path) as heard:
        heard.client.subscribe(30.0, scope=True)
        await heard.until(lambda: heard.links)  # nobody is there yet
        assert not heard.client.connected and not heard.client.set("mute", True)
        assert (await heard.client.ask("save", "")).error
        async with server:
            await heard.connected()
            asking = asyncio.create_task(heard.client.ask("stuck"))
            await heard.until(lambda: any(message.key == "stuck" for message in server.sets))
            await asking
            await server.stop()
            await heard.until(lambda: not heard.client.connected)
            assert heard.links[-1]  # says why
            await server.start()
            await heard.connected()
            await heard.until(lambda: len(server.subscriptions) == 2)
            assert server.subscriptions[1].rate_hz == 30.0 and server.subscriptions[1].scope
            assert isinstance(heard.messages[-1], Snapshot)


async def test_a_server_that_talks_nonsense_is_left_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)

    async def nonsense(stream, writer):
        writer.write(b"HTTP/1.1 200 OK")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, path=str(tmp_path / "s"))
    async with listening(tmp_path / "s") as heard:
        await heard.until(lambda: len(heard.links) > 1)
    server.close()
    await server.wait_closed()
    assert "frame of" in heard.links[0]


async def test_a_server_that_wants_another_version_says_so(tmp_path):
    async def refusing(stream, writer):
        writer.write(frame(Notice("error", "this server is 0.2.0; stop it and start again")))
        writer.close()

    server = await asyncio.start_unix_server(refusing, path=str(tmp_path / "s"))
    async with listening(tmp_path / "s") as heard:
        await heard.until(lambda: heard.links)
    server.close()
    await server.wait_closed()
    assert heard.links[0] == "this server is 0.2.0; stop it and start again"


@pytest.mark.parametrize("rate_hz", [0.0, 15.0])
async def test_subscribing_twice_alike_says_it_once(tmp_path, rate_hz):
    async with FakeServer(tmp_path / "s") as server, listening(server.path) as heard:
        await heard.connected()
        for _ in range(3):
            heard.client.subscribe(rate_hz, scope=False)
        await heard.client.ask("save", "")
        assert len(server.subscriptions) == bool(rate_hz)
