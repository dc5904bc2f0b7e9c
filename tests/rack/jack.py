"""JACK without a sound card: real, timed streams through its dummy driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

RATE = 48000  # Hz
REALTIME, PLAIN = ("-R", "-P", "80"), ("-r",)


class Jack:
    """jackd with its dummy driver, under the name in JACK_DEFAULT_SERVER, until it is stopped.

    `realtime` gives it priority, as on a musician's machine, where it may have it; `options` are jackd's own.
    Skips the test where there is no jackd, or none that starts.
    """

    def __init__(self, *options: str, period: int = 256, realtime: bool = False):
        self._ways = (REALTIME, PLAIN) if realtime else (PLAIN,)
        self._options, self._driver = options, ("-d", "dummy", "-r", str(RATE), "-p", str(period))
        self.start()

    def start(self) -> None:
        """Begin, or begin again after `stop`."""
        if not shutil.which("jackd"):
            pytest.skip("jackd is not installed")
        for way in self._ways:
            command = ["jackd", *way, *self._options, "-n", os.environ["JACK_DEFAULT_SERVER"], *self._driver]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)
            if self._process.poll() is None:
                return
        pytest.skip("jackd does not start here")

    def stop(self) -> None:
        """End it; it takes its shared memory along, which it does not when it is killed."""
        self._process.terminate()
        self._process.wait(timeout=60)
