"""`python -m trainer run.toml [--resume] [--pictures]`: trains, writing JSON lines to standard output."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts)

MOST_DEVICES = 8
KEEP_EVERYTHING = ((-4, 0), (-1, 2**31 - 1))  # glibc's M_MMAP_MAX and M_TRIM_THRESHOLD


def keep_memory() -> None:
    """Give no memory back to the system: a step takes and frees hundreds of megabytes, and fresh pages cost more than
    the arithmetic on them. Only glibc knows how."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        for option, value in KEEP_EVERYTHING:
            libc.mallopt(option, value)
    except (OSError, AttributeError):
        pass


def use_all_cores() -> None:
    """One device for each core: batches are dealt out to them."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", min(cores, MOST_DEVICES))


def main() -> int:
    options = {word for word in sys.argv[1:] if word in ("--resume", "--pictures")}
    arguments = [word for word in sys.argv[1:] if word not in options]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m trainer RUN.toml [--resume] [--pictures]", file=sys.stderr)
        return 2
    keep_memory()
    use_all_cores()
    from jaxmodels.files import ModelFileError

    from . import config
    from .train import print_line, train

    asked: list[int] = []

    def stop(number, frame) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        run, resume, pictures = config.load(Path(arguments[0])), "--resume" in options, "--pictures" in options
        train(run, print_line, resume=resume, stop=lambda: bool(asked), pictures=pictures)
    except (config.TrainerError, ModelFileError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
