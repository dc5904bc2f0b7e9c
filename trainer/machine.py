"""What a process that trains asks of the machine and of the compiler, before JAX starts."""

from __future__ import annotations

import ctypes
import os

import jax

from jaxmodels import xla

MOST_DEVICES = 8
KEEP_EVERYTHING = ((-4, 0), (-1, -1), (-2, 1 << 27))  # glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD


def prepare(recurrent: bool) -> None:
    """Memory is kept, and all cores are used.

    A recurrent network gets one device for each core, and batches are dealt out to them: a loop runs on one thread.
    Convolutions share one device, whose threads divide each of them.
    """
    xla.for_training()
    jax.config.update("jax_num_cpu_devices", min(cores(), MOST_DEVICES) if recurrent else 1)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_memory()


def cores() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_memory() -> None:
    """Give no memory back to the system: a step takes and frees hundreds of megabytes, and fresh pages cost more than
    the arithmetic on them. Only glibc knows how.

    It keeps what the main thread takes, of any size, so that is the thread to call programs on. Those of other threads
    come in heaps of 64 MB, which M_TOP_PAD keeps; what is larger goes back after every step.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        for option, value in KEEP_EVERYTHING:
            libc.mallopt(option, value)
    except (OSError, AttributeError):
        pass
