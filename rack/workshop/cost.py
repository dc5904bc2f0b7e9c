"""What a slot costs on this machine: its program, loaded as the engine loads it, run on noise."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import numpy as np
from jax.experimental import serialize_executable

from rack.shared import KNOBS

BLOCKS, WARM = 40, 5
LEVEL = 0.1  # of the noise, full scale being 1


def loaded(program: str, arrays: str) -> Callable[[np.ndarray], np.ndarray]:
    """A slot as a function of one block after another, its knobs where they stand in `arrays`.

    Raises OSError or ValueError where the files are no slot.
    """
    with open(program, "rb") as file:
        _, *parts = pickle.load(file)
    run = serialize_executable.deserialize_and_load(*parts)
    with open(arrays, "rb") as file:
        known, weights, state = pickle.load(file)
    targets, states = np.zeros((1, KNOBS), np.float32), (state,)
    targets[0, :known] = state[0][:known]

    def play(x: np.ndarray) -> np.ndarray:
        nonlocal states
        y, states, _ = run((weights,), states, x, x, targets)
        return np.asarray(y)

    return play


def played(program: str, arrays: str, x: np.ndarray, block: int) -> np.ndarray:
    """A mono signal `[N]` through a slot of one channel; N is cut to whole blocks."""
    play = loaded(program, arrays)
    blocks = x[: len(x) // block * block].reshape(-1, block, 1)
    return np.concatenate([play(x) for x in blocks])[:, 0]


def cost_ns(program: str, arrays: str, block: int, channels: int) -> float:
    """Nanoseconds a sample takes. The quickest quarter counts: what came between the others is not the slot's."""
    play, times = loaded(program, arrays), []
    x = LEVEL * np.random.default_rng(1).standard_normal((block, channels)).astype(np.float32)
    for _ in range(WARM + BLOCKS):
        began = time.perf_counter()
        play(x)
        times.append(time.perf_counter() - began)
    return sorted(times[WARM:])[BLOCKS // 4] / block * 1e9
