"""The trainer as a process of its own, for a program that carries out many runs: its records, and its end with ours."""

from __future__ import annotations

import ctypes
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

from .config import TrainerError

TRAINER = (sys.executable, "-m", "trainer")
TICK = 0.5  # seconds after which it is looked at again
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def trained(path: Path) -> Generator[dict | None, None, None]:
    """Run the trainer on a file; its records, None where there was none for a while.

    Raises TrainerError with what it said last. It is ended where the generator is closed, and on Linux where we are
    killed.
    """
    errors = path.with_suffix(".errors")
    with open(errors, "w") as said:
        process = subprocess.Popen(
            [*TRAINER, str(path)],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            process_group=0,  # Ctrl-C is for us; our session is its own: Linux shares the CPU out by session
            preexec_fn=_end_with_parent,
        )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(stream) -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        while True:
            try:
                line = lines.get(timeout=TICK)
            except queue.Empty:
                yield None
                continue
            if line is None:
                break
            yield json.loads(line)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
    if status:
        text = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
        killed = f"the trainer was ended by signal {-status}; is there enough memory?"
        raise TrainerError(killed if status < 0 else (text or ["the trainer failed"])[-1].removeprefix("trainer: "))
    errors.unlink(missing_ok=True)


def _end_with_parent() -> None:
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
