"""Recordings as batches: which segments a step learns from is a function of the seed and the step, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxmodels.effect import Effect, default_positions

from .config import Schedule, TrainerError
from .data import Pair


class Piece(NamedTuple):
    """One recording without a break: what goes in, `[N, I]` (audio, knob positions, controls), and what comes out."""

    x: np.ndarray
    y: np.ndarray
    lead: int  # first samples that are only context
    name: str


class Layout(NamedTuple):
    """How segments are cut."""

    segment: int  # samples that are learned from
    chunks: int  # so many updates to a segment
    before: int  # samples in front of it
    inside: bool  # these have to be in the recording; otherwise what is missing is silence
    batch: int
    epoch: int  # batches before every place has been visited once


def pieces(pairs: Sequence[Pair], effect: Effect) -> list[Piece]:
    """The independent recordings in all pairs. Knobs that a recording does not name stand at their default."""
    found, default = [], default_positions(effect)
    for pair in pairs:
        still = effect.knobs if pair.control is None else effect.knobs[: -pair.control.shape[1]]
        where = [pair.knobs.get(knob.name, default[k]) for k, knob in enumerate(still)]
        columns = [pair.dry[:, None], *(np.full((len(pair.dry), 1), position) for position in where)]
        if pair.control is not None:
            columns.append(pair.control)
        x = np.concatenate(columns, axis=1).astype(np.float32)
        length = pair.piece or len(x)
        for at in range(0, len(x) - length + 1, length):
            lead = pair.lead if at == 0 else 0
            found.append(Piece(x[at : at + length], pair.wet[at : at + length], lead, pair.name))
    return found


def layout(found: Sequence[Piece], schedule: Schedule, context: int, recurrent: bool, devices: int = 1) -> Layout:
    """Segments as the schedule wants them, shorter where the recordings are. Raises TrainerError where they are too."""
    before = schedule.warm_up if recurrent else context
    longest = max(len(piece.y) - max(piece.lead, before if recurrent else 0) for piece in found)
    segment = min(schedule.segment, longest)
    if segment < 64:
        short = max(len(piece.y) for piece in found)
        raise TrainerError(f"data: {short} samples in one go are too few; {before + 64} are needed")
    chunks = max(1, round(segment / schedule.chunk)) if recurrent else 1
    segment -= segment % chunks
    made = Layout(segment, chunks, before, recurrent, schedule.batch, 1)
    if schedule.fixed:
        return made._replace(batch=1)
    count = sum(1 + rest // segment for _, rest in (_room(piece, made) for piece in found) if rest >= 0)
    batch = schedule.batch - schedule.batch % devices if schedule.batch >= devices else schedule.batch
    return made._replace(batch=batch, epoch=max(1, count // batch))


def _room(piece: Piece, layout: Layout) -> tuple[int, int]:
    """The first place of a segment in a piece, and how far behind it the last one lies; below zero: there is none."""
    first = max(piece.lead, layout.before if layout.inside else 0)
    return first, len(piece.y) - first - layout.segment


def _grid(found, layout: Layout, rng) -> list[tuple[int, int]]:
    """(piece, first sample) of segments side by side, from anywhere in the length of one on."""
    starts = []
    for n, piece in enumerate(found):
        first, rest = _room(piece, layout)
        if rest >= 0:
            offset = int(rng.integers(0, min(rest + 1, layout.segment)))
            starts += [(n, at) for at in range(first + offset, first + rest + 1, layout.segment)]
    return starts


def batch(found: Sequence[Piece], layout: Layout, seed: int, number: int, fixed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Batch `number` of a run: `x [B, before + segment, I]`, `y [B, segment]`."""
    if fixed:
        chosen = [(0, max(0, min(layout.before + 1, len(found[0].y) - layout.segment)))]
    else:
        epoch, index = divmod(number, layout.epoch)
        rng = np.random.default_rng((seed, epoch))
        starts: list[tuple[int, int]] = []
        while len(starts) < layout.epoch * layout.batch:  # small recordings: several grids to an epoch
            grid = _grid(found, layout, rng)
            starts += [grid[k] for k in rng.permutation(len(grid))]
        chosen = starts[index * layout.batch : (index + 1) * layout.batch]
    x = np.stack([take(found[n].x, at - layout.before, at + layout.segment) for n, at in chosen])
    return x, np.stack([found[n].y[at : at + layout.segment] for n, at in chosen])


def take(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples `[N, I]` from `start` to `stop`; before the first one it was silent, and the knobs stood as they do."""
    if start >= 0:
        return x[start:stop]
    silence = np.repeat(x[:1], -start, axis=0)
    silence[:, 0] = 0
    return np.concatenate([silence, x[:stop]])
