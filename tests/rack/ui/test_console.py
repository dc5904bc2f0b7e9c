"""The program in a real terminal: its first frame, its bytes, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import pytest

from .console import Console
from .fake import FakeServer, levels

pytestmark = pytest.mark.terminal
CODE = "import sys; from rack.ui.app import run; sys.exit(run(sys.argv[1], color=sys.argv[2]))"
KIB = 1024


@asynccontextmanager
async def running(folder, color: str = "auto", **environ: str):
    async with FakeServer(folder / "s") as server:
        console = Console(CODE, str(server.path), color, **environ)
        try:
            await console.wait("reverb")
            await console.wait("threshold =")
            yield console, server
        finally:
            console.close()


async def still(console: Console) -> int:
    """The bytes so far, once no more have come for a while."""
    while True:
        count = len(console.received)
        await asyncio.sleep(0.4)
        if len(console.received) == count:
            return count


async def test_bytes_and_leaving(tmp_path):
    """Idle writes nothing; moving meters stay below 40 KiB/s; leaving gives the terminal back."""
    async with running(tmp_path) as (console, server):
        quiet = await still(console)
        await asyncio.sleep(0.5)
        assert len(console.received) == quiet  # not one byte
        start = time.monotonic()
        for step in range(40):
            server.push(levels(step))
            await asyncio.sleep(1 / 30)
        await still(console)
        moved = (len(console.received) - quiet) / (time.monotonic() - start - 0.4) / KIB
        print(f"meters moving: {moved:.1f} KiB/s")
        assert 0 < moved < 40
        for _ in range(20):
            server.push(levels(3))
            await asyncio.sleep(1 / 30)
        quiet = await still(console)
        server.push(levels(3))
        await asyncio.sleep(0.5)
        assert len(console.received) == quiet  # levels that stand still cost nothing

        console.press(b"k")
        await console.wait("-57.5 dB")
        assert server.last("noise_gate.threshold") == -57.5
        console.press(b"q")
        assert await console.ended() == 0
        await asyncio.sleep(0.05)
        end = bytes(console.received)
        assert b"the sound goes on" in end
        for mode in (b"1049", b"1003", b"1006", b"2004", b"1004"):  # as they were: screen, mouse, paste, focus
            assert end.rfind(b"\x1b[?" + mode + b"l") > end.rfind(b"\x1b[?" + mode + b"h"), mode
        assert end.rfind(b"\x1b[?25h") > end.rfind(b"\x1b[?25l")


@pytest.mark.parametrize("how", ["hang up", "HUP", "TERM"])
async def test_losing_the_terminal_ends_the_program(tmp_path, how):
    async with running(tmp_path) as (console, server):
        if how == "hang up":
            console.hang_up()
        else:
            os.kill(console.pid, getattr(signal, f"SIG{how}"))
        await console.ended(limit_s=60)
        assert not server.sets  # and the server is told nothing by it


async def test_without_colours_no_colour_is_sent(tmp_path):
    async with running(tmp_path, color="none") as (console, _):
        await still(console)
        sent = bytes(console.received).decode()
        codes = {code for part in sent.split("\x1b[")[1:] if "m" in part[:24] for code in part.split("m")[0].split(";")}
        default = {39, 49}
        assert not {int(code) for code in codes if code.isdigit() and 30 <= int(code) <= 107} - default, codes


async def test_sixteen_colours_are_the_terminals_own(tmp_path):
    async with running(tmp_path, color="16") as (console, _):
        await still(console)
        assert b"38;2;" not in console.received and b"38;5;" not in console.received
        assert b"48;2;" not in console.received and b"48;5;" not in console.received
