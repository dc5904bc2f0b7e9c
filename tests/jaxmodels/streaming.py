"""A box as a rack plays it: its step, block after block, on a packed state."""

from __future__ import annotations

import jax
import numpy as np

from jaxmodels import ring
from jaxmodels.effect import default_positions, first_state, one_step

pack = jax.jit(ring.pack, static_argnums=1)


def played(box, x, length, knobs=None, state=None):
    """The output for as much of `x [T, C]` as is whole blocks of `length`, and the state after them.

    `knobs` are `[K]` or `[T, K]`, the defaults where none are given; `state` is plain, the box's first one if none.
    """
    x = np.asarray(x, np.float32)
    knobs = np.asarray(default_positions(box) if knobs is None else knobs, np.float32)
    rows = knobs if knobs.ndim == 2 else np.tile(knobs, (len(x), 1))
    state, ys = pack(first_state(box, rows[0]) if state is None else state, length), []
    for at in range(0, len(x) // length * length, length):
        y, state = one_step(box, state, x[at : at + length], rows[at : at + length])
        ys.append(np.asarray(y))
    return np.concatenate(ys), state


def streamed(box, x, length, knobs=None, state=None):
    """The output of `played` for a mono box and `x [T]`."""
    return played(box, x[:, None], length, knobs, state)[0][:, 0]
