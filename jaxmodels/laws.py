"""The contract as an executable check, public for authors of boxes: `verify_effect(box)`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import ring, xla
from .effect import Effect, apply, default_positions, first_state, hold, one_step, run


class LawBroken(AssertionError):
    """A box does not do what it declares; the text names the law, the case and the size of the error."""


def verify_effect(
    effect: Effect,
    *,
    length: int = 700,
    blocks: Sequence[int] = (1, 2, 3, 17, 64, 129),
    tolerance: float = 2e-6,
    level: float = 0.3,
    gradients: bool = True,
    flat_response: bool = True,
    seed: int = 0,
) -> None:
    """Check every law of the contract; raises LawBroken at the first one that does not hold.

    length         samples of noise used for the comparisons
    blocks         block lengths to cut with, each used alone and all of them mixed at random
    tolerance      largest difference allowed, relative to the peak of the output
    level          peak of the noise
    gradients      False for boxes whose output is not differentiable in its input
    flat_response  False for boxes whose impulse response does not peak at their latency (reverbs, filters)

    Nearly all of the time is compilation, of a step for each block length, plain and packed; the whole signal is one
    block of `length`, and every law that needs no other block uses that.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-level, level, (length, effect.channels)).astype(np.float32)
    still = _held(default_positions(effect), length)
    k = len(effect.knobs)
    moving = np.cumsum(rng.normal(0, 0.01, (length, k)), 0) * 0.2 + rng.uniform(0.3, 0.7, k)
    moving = np.clip(moving, 0, 1).astype(np.float32)

    _declarations(effect)
    _one_trace(effect, length)
    for name, knobs in (("still", still), ("moving", moving)) if k else (("no", still),):
        whole = np.asarray(apply(effect, x, knobs))
        scale = max(float(np.abs(whole).max()), 1e-3)
        for cut in (*blocks, *["random"] * (len(blocks) > 1)):
            sizes = _cut(rng, length, cut, blocks)
            for packed in (False, True):
                y = _stream(effect, x, knobs, sizes, packed and max(blocks))
                _close("split invariance", y, whole, tolerance * scale, f"{name} knobs, cut {cut}, packed={packed}")
    whole = _whole(effect, x, still)
    _pack_round_trip(effect, x, still)
    if gradients:
        _gradients(effect, x[:256], still[:256], tolerance)
    _causality(effect, x, whole, still, rng)
    if effect.receptive_field is not None and effect.receptive_field < length:
        _receptive_field(effect, x, whole, still, rng, tolerance)
    if flat_response and effect.latency:
        _latency(effect, still)
    _finite(effect, length, rng)


def measured_receptive_field(effect: Effect, length: int, seed: int = 0) -> int:
    """How many samples of past, the present one included, the last of `length` samples really depends on."""
    x = jnp.asarray(np.random.default_rng(seed).uniform(0.1, 0.3, (length, effect.channels)), jnp.float32)
    knobs = hold(jnp.asarray(default_positions(effect)), length)
    last = jax.grad(lambda x: effect.step(effect.initial_state(), x, knobs)[0][-1].sum())
    gradient = jax.jit(last, compiler_options=xla.QUICKLY)(x)
    heard = np.flatnonzero(np.abs(np.asarray(gradient)).sum(1))
    return length - int(heard[0]) if len(heard) else 0


def _close(law, got, want, limit, case):
    error = float(np.abs(got - want).max()) if np.isfinite(got).all() else float("nan")
    if not error <= limit:
        raise LawBroken(f"{law} ({case}): off by {error:.3g}, allowed {limit:.3g}")


def _held(positions, length):
    return np.broadcast_to(np.asarray(positions, np.float32), (length, len(positions)))


def _declarations(effect):
    if effect.latency < 0 or effect.channels < 1:
        raise LawBroken(f"declarations: latency {effect.latency}, channels {effect.channels}")
    if effect.receptive_field is not None and effect.receptive_field < 1:
        raise LawBroken(f"declarations: receptive field {effect.receptive_field} is below one sample")
    hash(effect.settings)


def _cut(rng, length, cut, blocks):
    """Block lengths that make up `length`: all `cut` or any of `blocks`, at the end the largest that fit."""
    sizes = []
    while (left := length - sum(sizes)) > 0:
        size = int(rng.choice(blocks)) if cut == "random" else cut
        sizes.append(size if size <= left else max((block for block in blocks if block <= left), default=left))
    return sizes


_pack = jax.jit(ring.pack, static_argnums=1)


def _stream(effect, x, knobs, sizes, longest):
    """The output in blocks of these sizes; from a state packed for the `longest`, unless that is none."""
    state = first_state(effect, knobs[0])
    state = _pack(state, longest) if longest else state
    at, ys = 0, []
    for size in sizes:
        block, before = x[at : at + size], state
        y, state = one_step(effect, before, block, knobs[at : at + size])
        _shapes_kept(before, block, y, state)
        ys.append(np.asarray(y))
        at += size
    return np.concatenate(ys)


def _shapes_kept(before, x, y, after):
    """Of a step, its arrays or what `eval_shape` says of them."""
    if y.shape != x.shape or y.dtype != np.float32:
        raise LawBroken(f"shape: a block {x.shape} float32 came out as {y.shape} {y.dtype}")
    told = [jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), state) for state in (before, after)]
    if told[0] != told[1]:
        raise LawBroken(f"fixed state: a block of {len(x)} samples changed {told[0]} into {told[1]}")


def _whole(effect, x, knobs):
    """The output for one or more blocks `[N * T, C]` as long as the knobs `[T, K]`, the state carried."""
    state, ys = first_state(effect, knobs[0]), []
    for block in x.reshape(-1, len(knobs), x.shape[1]):
        y, state = run(effect, state, block[None], knobs[None])
        ys.append(np.asarray(y[0]))
    return np.concatenate(ys)


@jax.jit
def _packed_and_back(state):
    return ring.unpack(ring.pack(state, 64))


def _pack_round_trip(effect, x, knobs):
    _, state = run(effect, first_state(effect, knobs[0]), x[None], knobs[None])
    same = jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=False), state, _packed_and_back(state))
    if not all(jax.tree.leaves(same)):
        raise LawBroken("packed = plain: unpack(pack(state)) is another state")


def _gradients(effect, x, knobs, tolerance):
    x, knobs = x[: len(x) // 4 * 4], knobs[: len(x) // 4 * 4]
    weight = np.sin(np.arange(len(x), dtype=np.float32))[:, None]

    @partial(jax.jit, compiler_options=xla.QUICKLY)
    def whole_and_split(effect, start, x):
        def heard(x, count):
            blocks = tuple(signal.reshape(count, len(x) // count, signal.shape[1]) for signal in (x, knobs))
            _, y = lax.scan(lambda state, block: effect.step(state, *block)[::-1], start, blocks)
            return (y.reshape(x.shape) * weight).sum()

        return [jax.grad(heard)(x, count) for count in (1, 4)]

    whole, split = map(np.asarray, whole_and_split(effect, first_state(effect, knobs[0]), x))
    limit = 20 * tolerance * max(float(np.abs(whole).max()), 1e-3)
    _close("gradients of split = whole", split, whole, limit, "four blocks")


def _causality(effect, x, whole, knobs, rng):
    at = len(x) // 2
    other = x.copy()
    other[at:] = rng.uniform(-1, 1, x[at:].shape)
    y = _whole(effect, other, knobs)
    if not (whole[:at] == y[:at]).all():
        raise LawBroken(f"causality: samples before {at} changed with the samples after it")
    if not (whole[at:] != y[at:]).any() and len(x) - at > effect.latency:
        raise LawBroken("causality: the output does not depend on the input at all")


def _receptive_field(effect, x, whole, knobs, rng, tolerance):
    field = effect.receptive_field
    at = len(x) - field  # the last sample may hear x[at:], not what is before
    other = x.copy()
    other[:at] = rng.uniform(-1, 1, x[:at].shape)
    y = _whole(effect, other, knobs)
    scale = max(float(np.abs(whole).max()), 1e-3)
    _close("receptive field", y[-1], whole[-1], tolerance * scale, f"declared {field}")


def _latency(effect, knobs):
    silent = np.zeros((_rounded(4 * effect.latency + 64, len(knobs)), effect.channels), np.float32)
    x = silent.copy()
    x[8] = 0.1
    answer = _whole(effect, x, knobs) - _whole(effect, silent, knobs)
    peak = int(np.abs(answer).sum(1).argmax()) - 8
    if abs(peak - effect.latency) > 1:
        raise LawBroken(f"latency: declared {effect.latency} samples, an impulse peaks after {peak}")


def _finite(effect, length, rng):
    k, shape = len(effect.knobs), (_rounded(512, length), effect.channels)
    noise = rng.uniform(-4, 4, shape).astype(np.float32)
    signals = {"silence": np.zeros(shape), "denormals": np.full(shape, 1e-40), "loud noise": noise}
    ends = [np.full(k, end, np.float32) for end in (0.0, 1.0)] + [rng.integers(0, 2, k).astype(np.float32)]
    for positions in ends if k else ends[:1]:
        for name, signal in signals.items():
            y = _whole(effect, np.concatenate([noise, signal.astype(np.float32)]), _held(positions, length))
            if not np.isfinite(y).all():
                raise LawBroken(f"finite: {name} with the knobs at {positions.tolist()} gives a non-finite sample")


def _rounded(samples, length):
    """At least so many samples, as whole blocks."""
    return -(-samples // length) * length


def _one_trace(effect, length):
    traces = []

    @jax.jit
    def step(state, x, knobs):
        traces.append(x.shape)
        return effect.step(state, x, knobs)

    lengths = (32, length)
    for length in lengths:
        state = jax.eval_shape(effect.initial_state)
        x, knobs = np.zeros((length, effect.channels), np.float32), _held(default_positions(effect), length)
        for _ in range(3):
            before = state
            y, state = step.eval_shape(before, x, knobs)
            _shapes_kept(before, x, y, state)
    if len(traces) > len(lengths):
        raise LawBroken(f"one trace for each T: {len(traces)} traces for {len(lengths)} block lengths")
