"""How the engine is doing, in numbers: for `nafx-rack get engine` and the soak test."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from ..shared import Shared

COUNTERS = ("blocks", "late", "nonfinite", "errors", "starved", "lost")


def health(shared: Shared, pid: int | None, fused: bool) -> dict:
    """Counters since the stream began, the engine's memory, and whether the row runs as one program."""
    counts = {name: int(getattr(shared, name)[0]) for name in COUNTERS}
    return {"pid": pid, "fused": fused, "memory_kib": memory_kib(pid), "busy_us": float(shared.busy_us[0])} | counts


def times_us(shared: Shared) -> bytes:
    """Callback times of the last blocks in microseconds, float32, oldest first."""
    ring, blocks = shared.times_us, int(shared.blocks[0])
    if blocks <= len(ring):
        return ring[:blocks].tobytes()
    at = blocks % len(ring)
    return np.concatenate([ring[at:], ring[:at]]).tobytes()


def memory_kib(pid: int | None) -> int:
    """Memory that a process holds and shares with nobody; 0 where the system does not tell."""
    if pid is None:
        return 0
    with suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean:", "Private_Dirty:")))
    return 0
