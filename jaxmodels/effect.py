"""The contract: what a box is, how boxes chain, and how a box is applied to a whole signal.

Law: for any cut of x into blocks, feeding them one after another through `step` gives `apply(x)`.
`laws.verify_effect` checks it, and everything else that is said here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from . import ring

Block = Float[Array, "T C"]
Knobs = Float[Array, "T K"]
State = Any  # any pytree of arrays whose shapes never depend on T

LONGEST_BLOCK = 2048  # samples; `apply` cuts a signal into blocks of this length


@dataclass(frozen=True)
class Knob:
    """Something a person turns. Boxes receive positions in 0..1; people read and write values in `unit`."""

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    default: float = 0.5
    curve: str = "linear"  # or "log": equal turns are equal ratios (frequencies, times)
    labels: tuple[str, ...] = ()  # a switch: position i / (n - 1) means labels[i]

    def __post_init__(self) -> None:
        if self.curve not in ("linear", "log"):
            raise ValueError(f"knob {self.name}: curve {self.curve!r} is not 'linear' or 'log'")
        if self.curve == "log" and self.low <= 0:
            raise ValueError(f"knob {self.name}: a log curve needs low > 0, not {self.low}")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"knob {self.name}: default {self.default} is outside {self.low}..{self.high}")

    def value(self, position) -> Any:
        """Position 0..1 (a number or an array, traced or not) to a value in `unit`."""
        if self.curve == "linear":
            return self.low + (self.high - self.low) * position
        ratio = math.log(self.high / self.low)
        exp = math.exp if isinstance(position, float | int) else jnp.exp
        return self.low * exp(ratio * position)

    def position(self, value: float) -> float:
        """A value in `unit` to a position, clipped to 0..1."""
        value = min(max(float(value), self.low), self.high)
        if self.high == self.low:
            return 0.0
        if self.curve == "linear":
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)


class Effect(Protocol):
    """One box: a value with a pure `step`.

    Blocks are `[T, C]` float32 at the box's rate, knobs `[T, K]` positions in 0..1. The constructor makes the weights;
    after that nothing in a box changes: what it remembers is the state, which goes in and comes out. There is no batch
    axis: `jax.vmap` adds one.
    """

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """K of them, turned live."""
        ...

    @property
    def settings(self) -> Any:
        """What is not a knob, a frozen dataclass; changing one of these makes another box."""
        ...

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def sample_rate(self) -> int | None:
        """The only rate it works at, in Hz; None: it was built for whatever rate it was told."""
        ...

    @property
    def latency(self) -> int:
        """Samples by which the output lags."""
        ...

    @property
    def receptive_field(self) -> int | None:
        """Past samples that can be heard, the present one included; None: without bound."""
        ...

    def initial_state(self, knobs: Float[Array, " K"] | None = None) -> State:
        """The state after endless silence with the knobs at these positions (defaults where None)."""
        ...

    def step(self, state: State, x: Block, knobs: Knobs) -> tuple[Block, State]:
        """The next block, and the state after it. `state` may be plain or packed (see `ring`)."""
        ...


def default_positions(effect: Effect) -> Float[np.ndarray, " K"]:
    """Where the knobs stand when nobody has touched them, as positions in 0..1."""
    return np.array([knob.position(knob.default) for knob in effect.knobs], np.float32)


def positions(effect: Effect, values: dict[str, float]) -> Float[np.ndarray, " K"]:
    """Positions for knob values in their units; knobs that are not named stand at their default.

    Raises KeyError naming the knobs there are.
    """
    known = {knob.name: i for i, knob in enumerate(effect.knobs)}
    found = default_positions(effect)
    for name, value in values.items():
        if name not in known:
            raise KeyError(f"no knob {name!r}; this box has: {', '.join(known) or 'no knobs'}")
        found[known[name]] = effect.knobs[known[name]].position(value)
    return found


def knob_values(knobs: Sequence[Knob], positions: Float[Array, "... K"]) -> Float[Array, "... K"]:
    """What the positions of some knobs are in their units."""
    columns = [knob.value(positions[..., k : k + 1]) for k, knob in enumerate(knobs)]
    return jnp.concatenate(columns, axis=-1) if columns else positions


def hold(knobs: Float[Array, " K"], length: int) -> Knobs:
    """Knobs that stand still for a block of `length` samples."""
    return jnp.broadcast_to(jnp.asarray(knobs, jnp.float32), (length, len(knobs)))


def when_moving(function, knobs: Knobs):
    """`function` of each row of knobs, `[T, K] -> [T, N]` or `[N, T]`, at the price of one row while no knob moves."""

    def still(rows):
        return jnp.broadcast_to(function(rows[:1]), shape)

    shape = jax.eval_shape(function, knobs).shape
    if knobs.shape[0] == 1:
        return function(knobs)
    return lax.cond(jnp.any(knobs != knobs[:1]), function, still, knobs)


def apply(effect: Effect, x, knobs=None, *, state: State = None) -> Block:
    """The whole of a signal through a box, offline.

    `x` is `[T, C]`, or `[T]` for a mono box, of any length; `knobs` is `[T, K]`, or `[K]` held still, or None for the
    defaults; `state` is a plain state, or None for the initial one. Answers as many samples as it is given, `latency`
    included at the start. Raises ValueError where the shapes do not fit the box.
    """
    x = jnp.asarray(x, jnp.float32)
    flat = x.ndim == 1
    x = x[:, None] if flat else x
    if x.ndim != 2 or x.shape[1] != effect.channels:
        raise ValueError(f"signal of shape {x.shape}: this box takes [T, {effect.channels}]")
    knobs = jnp.asarray(default_positions(effect) if knobs is None else knobs, jnp.float32)
    moving = knobs.ndim == 2
    if knobs.shape != ((len(x), len(effect.knobs)) if moving else (len(effect.knobs),)):
        raise ValueError(f"knobs of shape {knobs.shape}: this box takes [K] or [T, K] with K = {len(effect.knobs)}")
    if len(x) == 0:
        return x[:, 0] if flat else x
    if state is None:
        state = first_state(effect, knobs[0] if moving else knobs)
    length = min(LONGEST_BLOCK, len(x))
    blocks = -(-len(x) // length)
    padding = ((0, blocks * length - len(x)), (0, 0))
    cut = jnp.pad(x, padding).reshape(blocks, length, effect.channels)
    if moving:
        knobs = jnp.pad(knobs, padding, mode="edge").reshape(blocks, length, len(effect.knobs))
    y, _ = run(effect, state, cut, knobs)
    y = y.reshape(-1, y.shape[-1])[: len(x)]
    return y[:, 0] if flat else y


@jax.jit
def first_state(effect, knobs):
    """The initial state, compiled: a box may play silence to find it."""
    return effect.initial_state(knobs)


@jax.jit
def one_step(effect, state, x, knobs):
    """A block through a box, compiled; inside another program it is traced but once for all calls that are alike."""
    return effect.step(state, x, knobs)


@jax.jit
def run(effect, state, blocks, knobs):
    """One scan over blocks `[N, T, C]`, knobs `[N, T, K]` or `[K]`; the output, and the state, packed where N > 1."""
    length = blocks.shape[1]
    still = hold(knobs, length) if knobs.ndim == 1 else None

    def one(state, block_and_knobs):
        block, moved = block_and_knobs
        y, state = effect.step(state, block, still if still is not None else moved)
        return state, y

    packed = ring.pack(state, length) if len(blocks) > 1 else state
    after, y = lax.scan(one, packed, (blocks, knobs if still is None else None))
    return y, after


class Chain(nnx.Module):
    """Boxes in series: itself a box, its state the tuple of theirs, its knobs theirs side by side."""

    def __init__(self, boxes: Sequence[Effect]):
        if not boxes:
            raise ValueError("a chain needs at least one box")
        if len({box.channels for box in boxes}) > 1:
            raise ValueError(f"boxes of {[box.channels for box in boxes]} channels cannot follow one another")
        rates = {box.sample_rate for box in boxes if box.sample_rate is not None}
        if len(rates) > 1:
            raise ValueError(f"boxes at {sorted(rates)} Hz cannot follow one another; resample them to one rate")
        self.boxes = nnx.List(boxes)
        self.knobs = tuple(knob for box in boxes for knob in box.knobs)
        self.settings = None
        self.channels = boxes[0].channels
        self.sample_rate = rates.pop() if rates else None
        self.latency = sum(box.latency for box in boxes)
        bounded = [box.receptive_field for box in boxes if box.receptive_field is not None]
        self.receptive_field = 1 + sum(field - 1 for field in bounded) if len(bounded) == len(boxes) else None

    def _share(self, knobs):
        """Each box's columns of the knobs, in order."""
        edges = np.cumsum([len(box.knobs) for box in self.boxes])[:-1]
        return jnp.split(knobs, edges, axis=-1)

    def initial_state(self, knobs=None):
        shares = [None] * len(self.boxes) if knobs is None else self._share(jnp.asarray(knobs))
        return tuple(box.initial_state(share) for box, share in zip(self.boxes, shares, strict=True))

    def step(self, state, x, knobs):
        after = []
        for box, before, share in zip(self.boxes, state, self._share(knobs), strict=True):
            x, new = box.step(before, x, share)
            after.append(new)
        return x, tuple(after)


class PerChannel(nnx.Module):
    """A mono box on each of C channels, every channel with its own state; knobs are shared.

    Boxes that only hold numbers are vectorised with `vmap`. Boxes with a long past are written out once a channel:
    under `vmap` a ring write becomes a scatter and a `cond` runs both its branches.
    """

    def __init__(self, box: Effect, channels: int):
        if box.channels != 1:
            raise ValueError(f"a box of {box.channels} channels cannot be spread over {channels} more")
        self.box = nnx.data(box)
        self.knobs, self.settings = box.knobs, box.settings
        self.channels, self.sample_rate = channels, box.sample_rate
        self.latency, self.receptive_field = box.latency, box.receptive_field
        self.unrolled = getattr(box, "unroll", False) or ring.has_past(jax.eval_shape(box.initial_state))

    def initial_state(self, knobs=None):
        one = self.box.initial_state(knobs)
        if self.unrolled:
            # Buffers of their own: a state is donated, and no buffer can be twice.
            return tuple(jax.tree.map(jnp.copy, one) for _ in range(self.channels))
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.channels, *jnp.shape(leaf))), one)

    def step(self, state, x, knobs):
        if self.unrolled:
            pairs = [one_step(self.box, state[c], x[:, c : c + 1], knobs) for c in range(self.channels)]
            return jnp.concatenate([y for y, _ in pairs], axis=1), tuple(after for _, after in pairs)
        step = partial(self.box.step, knobs=knobs)
        y, after = jax.vmap(step, in_axes=(0, 1), out_axes=(1, 0))(state, x[:, :, None])
        return y[:, :, 0], after


def widen(box: Effect, channels: int) -> Effect:
    """The box for C channels: itself where it has them already, else a mono box on each."""
    return box if box.channels == channels else PerChannel(box, channels)
