"""`python -m rack.stalls`: how often the machine itself stands still, told as JSON when standard input closes.

A virtual machine can be put aside by its host for tens of milliseconds, and no priority inside it helps. A thread of
the highest priority that only wants to wake up every millisecond sees such stalls; so late blocks of ours can be told
from those that nothing here could have played.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress

EVERY_S = 0.001
STALL_S = 0.002  # later than this, the machine stood still
PRIORITY = 90  # above the audio callback and JACK


def watch(running: threading.Event) -> list[float]:
    """The lengths of all stalls, in seconds, until `running` is cleared."""
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    stalls, due = [], time.perf_counter()
    while running.is_set():
        due += EVERY_S
        time.sleep(max(0.0, due - time.perf_counter()))
        late = time.perf_counter() - due
        if late > STALL_S:
            stalls.append(late)
            due += late
    return stalls


def main() -> None:
    running, stalls = threading.Event(), []
    running.set()
    watcher = threading.Thread(target=lambda: stalls.extend(watch(running)))
    watcher.start()
    sys.stdin.read()
    running.clear()
    watcher.join()
    print(json.dumps(stalls))


if __name__ == "__main__":
    main()
