"""The contract as an executable check, public for authors of boxes: `verify_effect(box)`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from . import ring
from .effect import Effect, apply, default_positions, hold


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
    """
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.uniform(-level, level, (length, effect.channels)), jnp.float32)
    still = jnp.asarray(default_positions(effect))
    k = len(effect.knobs)
    moving = jnp.asarray(np.cumsum(rng.normal(0, 0.01, (length, k)), 0) * 0.2 + rng.uniform(0.3, 0.7, k), jnp.float32)
    moving = jnp.clip(moving, 0, 1)

    _declarations(effect)
    for name, knobs in (("still", hold(still, length)), ("moving", moving)) if k else (("no", hold(still, length)),):
        whole, _ = _step(effect, _initial(effect, knobs[0]), x, knobs)
        scale = max(float(jnp.abs(whole).max()), 1e-3)
        if whole.shape != x.shape or whole.dtype != jnp.float32:
            raise LawBroken(f"shape: a block {x.shape} float32 came out as {whole.shape} {whole.dtype}")
        for cut in (*blocks, "random"):
            sizes = _cut(rng, length, cut, blocks)
            for packed in (False, True):
                y = _stream(effect, x, knobs, sizes, packed)
                _close("split invariance", y, whole, tolerance * scale, f"{name} knobs, cut {cut}, packed={packed}")
        _close("apply = step", apply(effect, x, knobs), whole, tolerance * scale, f"{name} knobs")
    _pack_round_trip(effect, x, hold(still, length))
    if gradients:
        _gradients(effect, x[:256], hold(still, min(256, length)), tolerance)
    _causality(effect, x, hold(still, length), rng)
    if effect.receptive_field is not None and effect.receptive_field < length:
        _receptive_field(effect, x, hold(still, length), rng, tolerance)
    if flat_response and effect.latency:
        _latency(effect, still)
    _finite(effect, rng)
    _one_trace(effect)


def measured_receptive_field(effect: Effect, length: int, seed: int = 0) -> int:
    """How many samples of past, the present one included, the last of `length` samples really depends on."""
    x = jnp.asarray(np.random.default_rng(seed).uniform(0.1, 0.3, (length, effect.channels)), jnp.float32)
    knobs = hold(jnp.asarray(default_positions(effect)), length)
    gradient = jax.jit(jax.grad(lambda x: effect.step(effect.initial_state(), x, knobs)[0][-1].sum()))(x)
    heard = np.flatnonzero(np.abs(np.asarray(gradient)).sum(1))
    return length - int(heard[0]) if len(heard) else 0


def _close(law, got, want, limit, case):
    error = float(jnp.abs(got - want).max()) if jnp.isfinite(got).all() else float("nan")
    if not error <= limit:
        raise LawBroken(f"{law} ({case}): off by {error:.3g}, allowed {limit:.3g}")


def _declarations(effect):
    if effect.latency < 0 or effect.channels < 1:
        raise LawBroken(f"declarations: latency {effect.latency}, channels {effect.channels}")
    if effect.receptive_field is not None and effect.receptive_field < 1:
        raise LawBroken(f"declarations: receptive field {effect.receptive_field} is below one sample")
    hash(effect.settings)


def _cut(rng, length, cut, blocks):
    sizes = []
    while (left := length - sum(sizes)) > 0:
        size = int(rng.choice(blocks)) if cut == "random" else cut
        sizes.append(min(size, left))
    return sizes


@jax.jit
def _initial(effect, knobs):
    return effect.initial_state(knobs)


@jax.jit
def _step(effect, state, x, knobs):
    return effect.step(state, x, knobs)


def _stream(effect, x, knobs, sizes, packed):
    state = _initial(effect, knobs[0])
    state = ring.pack(state, max(sizes)) if packed else state
    shapes = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), state)
    at, ys = 0, []
    for size in sizes:
        y, state = _step(effect, state, x[at : at + size], knobs[at : at + size])
        after = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), state)
        if after != shapes:
            raise LawBroken(f"fixed state: a block of {size} samples changed {shapes} into {after}")
        ys.append(y)
        at += size
    return jnp.concatenate(ys)


def _pack_round_trip(effect, x, knobs):
    _, state = _step(effect, _initial(effect, knobs[0]), x, knobs)
    back = ring.unpack(ring.pack(state, 64))
    same = jax.tree.map(lambda a, b: bool((jnp.asarray(a) == jnp.asarray(b)).all()), state, back)
    if not all(jax.tree.leaves(same)):
        raise LawBroken("packed = plain: unpack(pack(state)) is another state")


def _gradients(effect, x, knobs, tolerance):
    weight = jnp.sin(jnp.arange(len(x), dtype=jnp.float32))[:, None]
    half = len(x) // 3
    start = _initial(effect, knobs[0])

    def whole(x):
        return (effect.step(start, x, knobs)[0] * weight).sum()

    def split(x):
        first, state = effect.step(start, x[:half], knobs[:half])
        second, _ = effect.step(state, x[half:], knobs[half:])
        return (jnp.concatenate([first, second]) * weight).sum()

    a, b = jax.jit(jax.grad(whole))(x), jax.jit(jax.grad(split))(x)
    _close("gradients of split = whole", b, a, 20 * tolerance * max(float(jnp.abs(a).max()), 1e-3), f"cut at {half}")


def _causality(effect, x, knobs, rng):
    at = len(x) // 2
    other = x.at[at:].set(jnp.asarray(rng.uniform(-1, 1, x[at:].shape), jnp.float32))
    start = _initial(effect, knobs[0])
    a, b = _step(effect, start, x, knobs)[0], _step(effect, start, other, knobs)[0]
    if not (a[:at] == b[:at]).all():
        raise LawBroken(f"causality: samples before {at} changed with the samples after it")
    if not (a[at:] != b[at:]).any() and len(x) - at > effect.latency:
        raise LawBroken("causality: the output does not depend on the input at all")


def _receptive_field(effect, x, knobs, rng, tolerance):
    field = effect.receptive_field
    at = len(x) - field  # the last sample may hear x[at:], not what is before
    other = x.at[:at].set(jnp.asarray(rng.uniform(-1, 1, x[:at].shape), jnp.float32))
    start = _initial(effect, knobs[0])
    a, b = _step(effect, start, x, knobs)[0], _step(effect, start, other, knobs)[0]
    scale = max(float(jnp.abs(a).max()), 1e-3)
    _close("receptive field", b[-1], a[-1], tolerance * scale, f"declared {field}")


def _latency(effect, still):
    length = 4 * effect.latency + 64
    x = jnp.zeros((length, effect.channels)).at[8].set(0.1)
    answer = apply(effect, x, still) - apply(effect, jnp.zeros_like(x), still)
    peak = int(jnp.abs(answer).sum(1).argmax()) - 8
    if abs(peak - effect.latency) > 1:
        raise LawBroken(f"latency: declared {effect.latency} samples, an impulse peaks after {peak}")


def _finite(effect, rng):
    k, shape = len(effect.knobs), (512, effect.channels)
    noise = jnp.asarray(rng.uniform(-4, 4, shape), jnp.float32)
    signals = {"silence": jnp.zeros(shape), "denormals": jnp.full(shape, 1e-40), "loud noise": noise}
    ends = [np.full(k, end, np.float32) for end in (0.0, 1.0)] + [rng.integers(0, 2, k).astype(np.float32)]
    for knobs in ends:
        for name, signal in signals.items():
            y = apply(effect, jnp.concatenate([noise, signal]), knobs)
            if not jnp.isfinite(y).all():
                raise LawBroken(f"finite: {name} with the knobs at {knobs.tolist()} gives a non-finite sample")


def _one_trace(effect):
    traces = []

    @jax.jit
    def step(state, x, knobs):
        traces.append(x.shape)
        return effect.step(state, x, knobs)

    for length in (32, 33):
        state = effect.initial_state()
        x, knobs = jnp.zeros((length, effect.channels)), hold(jnp.asarray(default_positions(effect)), length)
        for _ in range(3):
            _, state = step(state, x, knobs)
    if len(traces) > 2:
        raise LawBroken(f"one trace for each T: {len(traces)} traces for two block lengths")
