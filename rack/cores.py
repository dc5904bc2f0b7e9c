"""Which processor cores who may use: the last one is left to the sound.

A kernel can be busy for milliseconds on behalf of a program that draws or compiles, and real-time priority does not end
that. Everything but the engine therefore keeps off one core, where there is more than one.
"""

from __future__ import annotations

import os
from contextlib import suppress


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
