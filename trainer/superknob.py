"""Fitting the SuperKnob's network to a handful of examples, in well under a second.

One compiled program serves every number of examples and knobs up to a size: what is not there is masked. It follows
Adam for a fixed schedule or until every example is met, and keeps the best weights it has seen. Where nothing is
taught, guide points over the whole scale see to it that no knob leaves the range between the examples around them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from jaxmodels import xla
from jaxmodels.superknob import HIDDEN, INPUTS, MARGIN, Weights, aimed, drive, initial_weights

from .config import TrainerError

SIZES = (16, 64)  # of examples and of knobs; a program is compiled for the smallest that holds them
STEPS = 1500
LEARNING_RATE = 0.08
FINE_RATE = 0.05  # the same for going on from weights that play well
LAST_SHARE = 0.05  # of the learning rate, at the end of the schedule
MET = 7e-7  # mean square error at the examples, from which on it is good
SLACK = 0.01  # of a knob's travel: so far it may leave its range at a guide point, for the examples' sake
GUIDE_WEIGHT = 2.0
GRID = 11  # guide points a side, with two knobs
ENOUGH = 0.003  # rmse at the examples, with which no other beginning is tried
BEGINNINGS = 3  # for no more examples than units can tell apart
CURVE = 64  # points of the loss
COMPILER = {"xla_backend_optimization_level": 1}  # less than half the time to compile, and as quick as with all


class Fit(NamedTuple):
    """What came of it; everything in numpy."""

    weights: Weights
    residuals: np.ndarray  # [N] rms over the knobs that each example holds
    rmse: float  # over all values that were taught
    steps: int
    seconds: float
    curve: np.ndarray  # the loss over the steps of the fit that was kept, evenly spaced


def fit(
    positions: Float[np.ndarray, "N D"],
    values: Float[np.ndarray, "N K"],
    start: Weights | None = None,
    seed: int = 0,
    steps: int = STEPS,
) -> Fit:
    """Weights that drive K knobs through `values`, all 0..1 and NaN where an example does not hold a knob.

    From `start` it goes on, and begins anew only where that misses the examples; D is 1 or 2. Raises TrainerError for
    no examples, positions or values beyond 0..1, and more than the largest of SIZES.
    """
    begin = time.monotonic()
    positions, values = _checked(positions, values)
    count, knobs = values.shape
    problem = _problem(positions, values)
    best, done = None, 0
    beginnings = BEGINNINGS if count <= HIDDEN + 1 else 1
    for attempt in range(beginnings + (start is not None)):
        if start is not None and attempt == 0:
            first, task, rate = *_kept(start, problem, positions), FINE_RATE
        else:
            first, task, rate = initial_weights(positions, knobs, seed + attempt), problem, LEARNING_RATE
        found, taken, curve = jax.device_get(_descend(_widened(first, problem.values.shape[1]), task, rate, steps))
        done += int(taken)
        residuals, rmse = _missed(found, problem, count)
        if best is None or rmse < best.rmse:
            kept = Weights(found.into, found.bias, found.out[:knobs], found.offset[:knobs])
            best = Fit(kept, residuals, rmse, done, 0.0, curve[: max(1, -(-int(taken) * CURVE // steps))])
        if best.rmse <= ENOUGH:
            break
    assert best is not None
    return best._replace(steps=done, seconds=time.monotonic() - begin)


class _Problem(NamedTuple):
    positions: np.ndarray  # [N, 2]
    values: np.ndarray  # [N, K], 0 where the mask is
    mask: np.ndarray  # [N, K]
    guides: np.ndarray  # [G, 2]
    low: np.ndarray  # [G, K]
    high: np.ndarray  # [G, K]


def _checked(positions, values) -> tuple[np.ndarray, np.ndarray]:
    positions, values = np.asarray(positions, np.float64), np.asarray(values, np.float64)
    if positions.ndim != 2 or values.ndim != 2 or len(positions) != len(values):
        raise TrainerError(f"positions {positions.shape} and values {values.shape} are not [N, D] and [N, K]")
    if not 1 <= positions.shape[1] <= INPUTS:
        raise TrainerError(f"a SuperKnob has 1 or 2 knobs, not {positions.shape[1]}")
    if not len(positions) or not np.isfinite(values).any():
        raise TrainerError("there are no examples to learn from; add one")
    if not ((positions >= 0) & (positions <= 1)).all():
        raise TrainerError("a position of an example is not 0..1; overwrite or delete that example")
    if not ((values >= 0) & (values <= 1) | np.isnan(values)).all():
        raise TrainerError("a value of an example is not 0..1; overwrite or delete that example")
    if max(values.shape) > SIZES[-1]:
        raise TrainerError(f"{values.shape[0]} examples of {values.shape[1]} knobs: {SIZES[-1]} of each is the most")
    return positions, values


def _problem(positions: np.ndarray, values: np.ndarray) -> _Problem:
    """Everything padded to the size that one program is compiled for."""
    (count, dimensions), knobs = positions.shape, values.shape[1]
    rows, columns = (next(size for size in SIZES if size >= n) for n in (count, knobs))
    line = np.linspace(0, 1, GRID**2)[:, None]
    plane = np.stack(np.meshgrid(*[np.linspace(0, 1, GRID)] * 2), axis=-1).reshape(-1, 2)
    guides = line if dimensions == 1 else plane
    low, high = ranges(positions, values, guides)
    known = np.isfinite(values)
    return _Problem(
        _padded(positions, rows, INPUTS),
        _padded(np.where(known, values, 0), rows, columns),
        _padded(known, rows, columns),
        _padded(guides, len(guides), INPUTS),
        _padded(low, len(guides), columns, -MARGIN),
        _padded(high, len(guides), columns, 1 + MARGIN),
    )


def _padded(array: np.ndarray, rows: int, columns: int, filler: float = 0.0) -> np.ndarray:
    whole = np.full((rows, columns), filler, np.float32)
    whole[: array.shape[0], : array.shape[1]] = array
    return whole


def _widened(weights: Weights, columns: int) -> Weights:
    out = _padded(np.asarray(weights.out), columns, weights.out.shape[1])
    return weights._replace(out=out, offset=_padded(np.asarray(weights.offset)[:, None], columns, 1)[:, 0])


def ranges(
    positions: Float[np.ndarray, "N D"], values: Float[np.ndarray, "N K"], guides: Float[np.ndarray, "G D"]
) -> tuple[np.ndarray, np.ndarray]:
    """Between what each knob may stand at each guide point: low [G, K] and high [G, K].

    With one knob between the values of the two examples around the point; beyond the outermost one it may go on the
    way it goes there, no further than any example. With two, between the least and the most of all examples.
    """
    low, high = np.empty((2, len(guides), values.shape[1]))
    for k, column in enumerate(values.T):
        known = np.isfinite(column)
        if not known.any():
            low[:, k], high[:, k] = -MARGIN, 1 + MARGIN
            continue
        least, most = column[known].min(), column[known].max()
        low[:, k], high[:, k] = least, most
        if positions.shape[1] == 1:
            order = np.argsort(positions[known, 0], kind="stable")
            x, y = positions[known, 0][order], column[known][order]
            ends = [[least if later >= end else end, most if later <= end else end] for end, later in
                    ((y[0], y[min(1, len(y) - 1)]), (y[-1], y[max(0, len(y) - 2)]))]  # fmt: skip
            between = np.sort(np.stack([y[:-1], y[1:]], axis=-1), axis=-1)
            table = np.concatenate([ends[:1], between, ends[1:]])
            low[:, k], high[:, k] = table[np.searchsorted(x, guides[:, 0])].T
    return low, high


def _kept(start: Weights, problem: _Problem, positions: np.ndarray) -> tuple[Weights, _Problem]:
    """Where to go on from, and a problem whose guides stay where `start` plays the examples around them already."""
    known = problem.mask > 0
    start = _widened(start, known.shape[1])
    error = np.where(known, np.abs(np.asarray(_drive(start, problem.positions)) - problem.values), 0)
    missed = error.max(axis=1)[: len(positions)] > SLACK
    distance = np.linalg.norm(problem.guides[:, None, : positions.shape[1]] - positions[None], axis=-1)
    settled = 2 * distance.min(axis=1) < np.where(missed, distance, np.inf).min(axis=1)
    if positions.shape[1] == 1:  # the examples on both sides
        order = np.argsort(positions[:, 0])
        right = np.searchsorted(positions[order, 0], problem.guides[:, 0])
        sides = [order[np.clip(right + side, 0, len(order) - 1)] for side in (-1, 0)]
        settled = ~missed[sides[0]] & ~missed[sides[1]]
    old = np.clip(np.asarray(_drive(start, problem.guides)), problem.low, problem.high)
    low, high = (np.where(settled[:, None], old, bound).astype(np.float32) for bound in (problem.low, problem.high))
    return aimed(start, positions, missed), problem._replace(low=low, high=high)


def _missed(weights: Weights, problem: _Problem, count: int) -> tuple[np.ndarray, float]:
    """Residuals [N] and rmse of what is heard: clipped to the range of each knob's examples."""
    known = problem.mask > 0
    least = np.where(known, problem.values, 1).min(axis=0)
    most = np.where(known, problem.values, 0).max(axis=0)
    played = np.clip(np.asarray(_drive(weights, problem.positions)), least, np.maximum(least, most))
    squares = np.where(known, (played - problem.values) ** 2, 0)
    residuals = np.sqrt(squares.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    return residuals[:count], float(np.sqrt(squares.sum() / known.sum()))


_drive = jax.jit(drive, compiler_options=xla.QUICKLY)


@partial(jax.jit, static_argnames="steps", compiler_options=COMPILER)
def _descend(weights: Weights, problem: _Problem, rate: float, steps: int):
    """The best weights on the way, how many steps it took, and the loss along them [CURVE]."""
    optimizer = optax.chain(
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(optax.cosine_decay_schedule(1.0, steps, LAST_SHARE)),
    )
    taught = jnp.sum(problem.mask)
    driven = jnp.maximum(jnp.sum(jnp.max(problem.mask, axis=0)), 1.0) * len(problem.guides)

    def loss(weights: Weights):
        error = jnp.sum(problem.mask * (drive(weights, problem.positions) - problem.values) ** 2) / taught
        guided = drive(weights, problem.guides)
        stray = jnp.maximum(problem.low - guided, guided - problem.high)
        guidance = jnp.sum(jnp.maximum(stray - SLACK, 0) ** 2) / driven
        return error + GUIDE_WEIGHT * guidance, (error <= MET) & (jnp.max(stray) <= 2 * SLACK)

    def step(carry):
        number, weights, moments, best, least, curve, _ = carry
        (value, good), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
        better = value < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, best)
        updates, moments = optimizer.update(gradient, moments, weights)
        updates = jax.tree.map(lambda u: rate * u, updates)
        curve = curve.at[number * CURVE // steps].set(value)
        least = jnp.minimum(value, least)
        return number + 1, optax.apply_updates(weights, updates), moments, best, least, curve, good

    def going(carry):
        return (carry[0] < steps) & ~carry[-1]

    carry = (0, weights, optimizer.init(weights), weights, jnp.inf, jnp.zeros(CURVE), jnp.bool_(False))
    number, _, _, best, _, curve, _ = jax.lax.while_loop(going, step, carry)
    return best, number, curve
