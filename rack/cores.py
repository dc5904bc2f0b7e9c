"""Which processor cores who may use: the last one is left to the sound.

A kernel can be busy for milliseconds on behalf of a program that draws or compiles, and real-time priority does not end
that. Everything but the engine therefore keeps off one core, where there is more than one, and what works for long
steps back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def leave_one_for_audio() -> None:
    """Keep this process, and what it starts, off the last core that it may use."""
    with suppress(AttributeError, OSError):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[:-1])


def use_all() -> None:
    """Let this process run on every core, whatever it inherited."""
    with suppress(AttributeError, OSError, TypeError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def step_back() -> None:
    """Begin a session of its own, which Ctrl-C does not reach, and let everybody else have the processor first.

    Linux weighs whole sessions against one another before it looks at the niceness of what runs in them.
    """
    os.setsid()
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")
