"""What a validation recording and the model's answer to it hold in each band: for whoever watches a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import batches, forward
from .recipes import Job

BANDS, LOW_HZ, HIGH = 40, 40.0, 0.45  # evenly spaced on a log axis, up to this share of the rate
FRAME = 4096
LONGEST_S = 4.0  # of the recording that is looked at
SILENT_DB = -140.0


def bands(x: np.ndarray, rate: int) -> list[float]:
    """Mean power in dB of each band of `[N]`; `centres` says where they are."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, (0, max(0, FRAME - len(x)))), FRAME)[:: FRAME // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2).mean(axis=0) / FRAME
    edges = np.round(_edges(rate) * FRAME / rate).astype(int)
    means = [power[low : max(high, low + 1)].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return [round(max(SILENT_DB, 10 * float(np.log10(mean + 1e-30))), 2) for mean in means]


def centres(rate: int) -> list[float]:
    """The middle of each band in Hz."""
    edges = _edges(rate)
    return [round(float(hz), 1) for hz in np.sqrt(edges[:-1] * edges[1:])]


def _edges(rate: int) -> np.ndarray:
    return np.geomspace(LOW_HZ, HIGH * rate, BANDS + 1)


def pictures(job: Job, way: forward.Forward, structure, rest) -> Callable[[Any], dict[str, list[float]]]:
    """A function of weights: hz, target_db and model_db of the first validation recording."""
    pair = (job.pairs.validation or job.pairs.train)[0]
    piece = batches.pieces([pair], job.effect)[0]
    length = min(len(piece.y), piece.lead + round(LONGEST_S * pair.rate))
    before = 0 if way.recurrent else way.context
    x = jnp.asarray(batches.take(piece.x, -before, length)[None])
    heard = slice(min(piece.lead, length // 2), length)
    known = {"hz": centres(pair.rate), "target_db": bands(np.asarray(piece.y[heard]), pair.rate)}

    @jax.jit
    def play(weights):
        effect = nnx.merge(structure, weights, rest)
        return way.run(effect, way.first(effect, 1), x)[0][0]

    return lambda weights: known | {"model_db": bands(np.asarray(play(weights))[heard], pair.rate)}
