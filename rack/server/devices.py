"""Waiting for a sound device that is not there: unplugged, or its JACK server not started."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec

from ..protocol import Stream

PROBE = (sys.executable, "-m", "rack.engine.probe")
FOUND, NEVER = 0, 2  # what a probe ends with; anything else: not now
FIRST_S, LONGEST_S = 2.0, 15.0


class DeviceWatch:
    """Looks for a device in processes of their own, since PortAudio lists the devices once, when it starts.

    `found` is called when the device could be opened; after that nothing is watched until the next `watch`.
    """

    def __init__(self, found: Callable[[], None]):
        self._found = found
        self._task: asyncio.Task | None = None
        self._stream: Stream | None = None

    def watch(self, stream: Stream | None) -> None:
        """Wait for the devices of a stream; None stops waiting."""
        if stream == self._stream and (stream is None or (self._task and not self._task.done())):
            return
        if self._task:
            self._task.cancel()
        self._stream = stream
        self._task = asyncio.create_task(self._look(stream)) if stream else None

    async def _look(self, stream: Stream) -> None:
        wait = FIRST_S
        while True:
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, LONGEST_S)
            code = await _probe(stream)
            if code == FOUND:
                self._found()
            if code in (FOUND, NEVER):
                return


async def _probe(stream: Stream) -> int:
    quiet = asyncio.subprocess.DEVNULL
    probe = await asyncio.create_subprocess_exec(
        *PROBE, msgspec.json.encode(stream).decode(), stdin=quiet, stdout=quiet, stderr=quiet
    )
    try:
        async with asyncio.timeout(10):
            return await probe.wait()
    except TimeoutError:
        return 1
    finally:
        if probe.returncode is None:
            probe.kill()
            await probe.wait()
