"""What a slot costs on this machine: its program, loaded as the engine loads it, run on noise."""

from __future__ import annotations

import pickle
import time

import numpy as np
from jax.experimental import serialize_executable

from rack.shared import KNOBS

BLOCKS, WARM = 40, 5
LEVEL = 0.1  # of the noise, full scale being 1


def cost_ns(program: str, arrays: str, block: int, channels: int) -> float:
    """Nanoseconds a sample takes. The quickest quarter counts: what came between the others is not the slot's.

    Raises OSError or ValueError where the files are no slot.
    """
    with open(program, "rb") as file:
        _, *parts = pickle.load(file)
    run = serialize_executable.deserialize_and_load(*parts)
    with np.load(arrays) as file:
        weights, state = (
            tuple(file[f"{kind}_{i}"] for i in range(sum(name.startswith(kind) for name in file.files)))
            for kind in ("weights", "state")
        )
    x = LEVEL * np.random.default_rng(1).standard_normal((block, channels)).astype(np.float32)
    states, targets, times = (state,), np.full((1, KNOBS), 0.5, np.float32), []
    for _ in range(WARM + BLOCKS):
        began = time.perf_counter()
        y, states, _ = run((weights,), states, x, x, targets)
        np.asarray(y)
        times.append(time.perf_counter() - began)
    return sorted(times[WARM:])[BLOCKS // 4] / block * 1e9
