"""A row of slots as one pure function: what the engine runs a block at a time, and `render` scans over a file.

A slot is a box with what a rack adds to it: knobs that glide to their targets, a bypass that fades between the box and
its own input delayed by the box's latency, a peak, and a check that the output is finite.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmodels import ring
from jaxmodels.effect import Effect, default_positions
from rack.shared import KNOBS

from . import loop

GLIDE_S = 0.02  # time constant with which a knob follows its target
ARRIVED = 1e-5  # of the whole travel: nearer than this, the knob stands on its target
SMALL = 2048  # elements; smaller leaves share one array


class SlotState(NamedTuple):
    """What a slot remembers between two blocks. `positions` stands first: the engine sets it when it loads a slot."""

    positions: Any  # [1 + K]: bypass (1 = on), then the knobs
    dry: Any  # the box's input, as far back as its latency
    box: Any


def check(effect: Effect) -> None:
    """Raise ValueError where a box has more knobs than a row of the shared table has places."""
    if len(effect.knobs) >= KNOBS:
        raise ValueError(f"a box of {len(effect.knobs)} knobs: a slot has room for {KNOBS - 1}")


def initial_state(effect: Effect, positions=None, on: bool = True, longest: int = 64) -> SlotState:
    """A slot at rest with its knobs at these positions, packed for blocks of up to `longest` samples."""
    check(effect)
    positions = default_positions(effect) if positions is None else np.asarray(positions, np.float32)
    start = np.concatenate([[np.float32(on)], positions]).astype(np.float32)
    dry = ring.silence(effect.channels, effect.latency) if effect.latency else ()
    return ring.pack(SlotState(jnp.asarray(start), dry, effect.initial_state(jnp.asarray(positions))), longest)


def knobs_matter(effect: Effect) -> bool:
    """Whether what a box starts from depends on where its knobs stand."""
    here, there = (effect.initial_state(jnp.full(len(effect.knobs), at, jnp.float32)) for at in (0.25, 0.75))
    same = jax.tree.map(lambda a, b: bool((jnp.asarray(a) == jnp.asarray(b)).all()), here, there)
    return bool(effect.knobs) and not all(jax.tree.leaves(same))


def glide(positions, targets, length: int, rate: int):
    """Each position on its way to its target: `[T, n]`, one row a sample, the same however the signal is cut."""
    decay = math.exp(-1 / (GLIDE_S * rate))
    left = (positions - targets)[None, :] * (decay ** jnp.arange(1, length + 1, dtype=jnp.float32))[:, None]
    return targets[None, :] + jnp.where(jnp.abs(left) < ARRIVED, 0.0, left)


def slot_step(effect: Effect, rate: int, state: SlotState, x, key, targets):
    """One block `[T, C]` through a slot: output, state, and [peak, finite].

    `key` is the input of the whole row, for boxes that listen to it. `targets` is a row of the shared table.
    """
    length, used = x.shape[0], 1 + len(effect.knobs)
    rows = glide(state.positions, targets[:used], length, rate)
    listens = {"key": key} if getattr(effect, "keyed", False) else {}
    wet, box = effect.step(state.box, x, rows[:, 1:], **listens)
    finite = jnp.isfinite(wet).all()
    wet = jnp.where(finite, wet, 0.0)
    if effect.latency:
        window = ring.extend(state.dry, x.T)
        dry, past = window.tap(effect.latency).T, window.after
    else:
        dry, past = x, state.dry
    on = rows[:, :1]
    y = wet * on + dry * (1.0 - on)
    report = jnp.stack([jnp.abs(y).max(), finite.astype(jnp.float32)])
    return y, SlotState(rows[-1], past, box), report


def row_step(effects: Sequence[Effect], rate: int, states, x, key, targets):
    """One block through slots in series: output, states, and `[S, 2]` peaks and finite flags."""
    after, reports = [], []
    for effect, state, target in zip(effects, states, targets, strict=True):
        x, state, report = slot_step(effect, rate, state, x, key, target)
        after.append(state)
        reports.append(report)
    return x, tuple(after), jnp.stack(reports)


class Layout:
    """How a pytree travels as few arrays: its small leaves side by side in one array of each kind, large ones alone.

    A call of a compiled program costs by the argument, so a network of 50 small tensors goes in as one.
    """

    def __init__(self, tree):
        leaves, self.structure = jax.tree.flatten(tree)
        self.shapes = [(tuple(np.shape(leaf)), np.dtype(jnp.result_type(leaf))) for leaf in leaves]
        self.groups: dict[str, list[int]] = {}
        self.alone = []
        for i, (shape, kind) in enumerate(self.shapes):
            if math.prod(shape) < SMALL:
                self.groups.setdefault(kind.name, []).append(i)
            else:
                self.alone.append(i)

    def join(self, tree) -> tuple:
        """The tree's leaves as a tuple of arrays; works on values and under tracing."""
        leaves = jax.tree.leaves(tree)
        joined = [jnp.concatenate([jnp.ravel(leaves[i]) for i in group]) for group in self.groups.values()]
        return (*joined, *(jnp.asarray(leaves[i]) for i in self.alone))

    def part(self, arrays):
        """The tree again."""
        leaves: list[Any] = [None] * len(self.shapes)
        for array, group in zip(arrays, self.groups.values(), strict=False):
            at = 0
            for i in group:
                shape, _ = self.shapes[i]
                size = math.prod(shape)
                leaves[i] = lax.slice(array, (at,), (at + size,)).reshape(shape)
                at += size
        for array, i in zip(arrays[len(self.groups) :], self.alone, strict=True):
            leaves[i] = array
        return jax.tree.unflatten(self.structure, leaves)


class Prepared(NamedTuple):
    """A box ready to be compiled: its layouts, and its weights and first state as few numpy arrays."""

    effect: Effect
    weights_layout: Layout
    state_layout: Layout
    weights: tuple[np.ndarray, ...]
    state: tuple[np.ndarray, ...]


def prepare(effect: Effect, positions=None, longest: int = 64) -> Prepared:
    """Split a box into its structure and its numbers."""
    state = initial_state(effect, positions, longest=longest)
    weights_layout, state_layout = Layout(effect), Layout(state)
    host = jax.device_get((weights_layout.join(effect), state_layout.join(state)))
    return Prepared(effect, weights_layout, state_layout, *host)


def program(row: Sequence[Prepared], rate: int):
    """The function that the engine calls: `(weights, states, x, key, targets) -> (y, states, reports)`.

    `weights` and `states` hold one tuple of arrays a slot, `key` is the input of the whole row (`x` itself where these
    are all its slots), `targets` is `[S, KNOBS]`. Only the structure of the boxes
    is in it, none of their numbers: two captures of one architecture share a program.
    """

    def slot(box: Prepared, numbers, state, x, key, target):
        effect, before = box.weights_layout.part(numbers), box.state_layout.part(state)
        y, after, report = slot_step(effect, rate, before, x, key, target)
        return y, box.state_layout.join(after), report

    def run(weights, states, x, key, targets):
        def through(slots: Sequence[int], states, x):
            after, reports = [], []
            for i, state in zip(slots, states, strict=True):
                x, state, report = slot(row[i], weights[i], state, x, key, targets[i])
                after.append(state)
                reports.append(report)
            return tuple(after), x, jnp.stack(reports)

        def by_library(i: int) -> bool:
            return loop.has_large_product(partial(slot, row[i]), weights[i], states[i], x, key, targets[i])

        after, reports = (), []
        for library, slots in itertools.groupby(range(len(row)), by_library):
            slots = tuple(slots)
            step, before = partial(through, slots), tuple(states[i] for i in slots)
            new, x, report = step(before, x) if library else loop.as_one_loop(step, before, x)
            after += new
            reports.append(report)
        return x, after, jnp.concatenate(reports)

    return run
