"""Fitting the SuperKnob: it meets its examples in time, and stays between them; what cannot be learned is refused."""

from __future__ import annotations

import time

import jax
import numpy as np
import pytest

from jaxmodels.superknob import drive
from tests.variants import slow_except
from trainer.config import TrainerError
from trainer.superknob import fit, ranges

MOST = 301  # points at which a fit is played
driven = jax.jit(drive)


def draw(rng, dimensions, count, knobs):
    """Examples at least .05 apart, at arbitrary values."""
    while True:
        positions = rng.uniform(size=(count, dimensions))
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + np.eye(count)
        if distance.min() >= 0.05:
            return positions, rng.uniform(size=(count, knobs))


def played(found, positions, values=None):
    count, dimensions = np.shape(positions)
    wide = np.zeros((MOST, 2), np.float32)  # one shape, compiled once
    wide[:count, :dimensions] = positions
    y = np.asarray(driven(found.weights, wide))[:count]
    return y if values is None else np.clip(y, np.nanmin(values, axis=0), np.nanmax(values, axis=0))


@pytest.mark.parametrize(("dimensions", "draws"), [(1, 100), (2, 40)])
def test_many_draws_are_met_in_time(dimensions, draws):
    rng = np.random.default_rng(100 + dimensions)
    fit(*draw(rng, dimensions, 2, 2))  # compiles
    rmse, seconds, stray = [], [], []
    line = np.linspace(0, 1, MOST)[:, None]
    for _ in range(draws):
        positions, values = draw(rng, dimensions, rng.integers(2, 9), rng.integers(2, 7))
        start = time.process_time()
        found = fit(positions, values)
        seconds.append(time.process_time() - start)
        error = played(found, positions, values) - values
        rmse.append(np.sqrt(np.mean(error**2)))
        assert np.isclose(found.rmse, rmse[-1], atol=1e-5)
        assert np.allclose(found.residuals, np.sqrt(np.mean(error**2, axis=1)), atol=1e-5)
        if dimensions == 1:
            low, high = ranges(positions, values, line)
            y = played(found, line, values)
            stray.append(max((low - y).max(), (y - high).max()))
    met = np.mean(np.array(rmse) <= 0.005)
    print(f"\n{draws} draws with {dimensions} knob(s): {met:.0%} within .005, the worst {max(rmse):.4f}; "
          f"{np.median(seconds):.3f} s each, {max(seconds):.3f} at most")  # fmt: skip
    assert met >= 0.95
    assert np.quantile(seconds, 0.95) < 0.5 and max(seconds) < 1.0
    if stray:  # no knob leaves the range between the two examples around it by more than this
        assert np.median(stray) < 0.02 and max(stray) < 0.05


def reference(positions, values, rng, steps, stops=True):
    """What MagicKnob learns: 1 -> K sigmoids -> K, plain gradient descent on all examples; its rmse and its steps.

    `stops` is its rule: it ends where the loss falls by less than 1e-6 in a step.
    """
    knobs = values.shape[1]
    w, b = rng.uniform(-1, 1, (1, knobs)), rng.uniform(-1, 1, knobs)
    v, c = (rng.uniform(-1, 1, shape) / np.sqrt(knobs) for shape in ((knobs, knobs), knobs))
    before = np.inf
    for step in range(steps + 1):
        hidden = 1 / (1 + np.exp(-(positions @ w + b)))
        error = hidden @ v + c - values
        loss = np.mean(error**2)
        if step == steps or stops and before - loss < 1e-6:
            break
        before, slope = loss, 2 * error / error.size
        inner = slope @ v.T * hidden * (1 - hidden)
        v, c = v - 0.01 * hidden.T @ slope, c - 0.01 * slope.sum(axis=0)
        w, b = w - 0.01 * positions.T @ inner, b - 0.01 * inner.sum(axis=0)
    return np.sqrt(loss), step


TABLE = [(2, 2, 0.001, 0.17), (3, 2, 0.001, 0.17), (5, 2, 0.001, 0.6), (8, 2, 0.004, 1.0),
         (3, 6, 0.001, 0.08), (5, 6, 0.001, 0.25), (8, 6, 0.009, 1.0)]  # fmt: skip


@pytest.mark.parametrize(("count", "knobs", "reached", "seconds"), slow_except([TABLE[0], TABLE[-1]], TABLE))
def test_every_row_of_the_reference_table_is_reached_or_bettered(count, knobs, reached, seconds):
    """`reached` and `seconds` are those of a 16-unit net with Adam, measured for these shapes elsewhere.

    The other two columns are run here on the same examples: MagicKnob's rule, and 20,000 of its steps without that.
    """
    rng = np.random.default_rng(count * 10 + knobs)
    fit(*draw(rng, 1, count, knobs))
    columns: dict[str, list] = {"ours": [], "seconds": [], "rule": [], "steps": [], "its seconds": []}
    for _ in range(5):
        positions, values = draw(rng, 1, count, knobs)
        start = time.process_time()
        ours, between = fit(positions, values).rmse, time.process_time()
        rule, steps = reference(positions, values, rng, 1_000_000)
        row = (ours, between - start, rule, steps, time.process_time() - between)
        for column, figure in zip(columns.values(), row, strict=True):
            column.append(figure)
    start = time.process_time()
    patient, _ = reference(positions, values, rng, 20_000, stops=False)
    spent = time.process_time() - start
    ours, rule = np.array(columns["ours"]), np.array(columns["rule"])
    middle, took, missed, steps, rule_took = (np.median(column) for column in columns.values())
    print(f"\n{count} x {knobs}: ours {middle:.4f} in {took:.3f} s; its rule {missed:.3f} in {steps:.0f} steps, "
          f"{rule_took:.3f} s; without it {patient:.3f} in {spent:.2f} s")  # fmt: skip
    assert middle <= reached and took <= seconds
    assert (ours < 0.2 * rule).all() and ours[-1] <= patient
    assert missed > 0.05, "the reference misses its examples, as it is known to"


def test_the_ends_of_the_knobs_are_reached():
    positions, values = np.array([[0.0], [0.5], [1.0]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert fit(positions, values).rmse < 0.003


def test_one_example_is_a_constant():
    found = fit(np.array([[0.3]]), np.array([[0.25, 0.8]]))
    y = played(found, np.linspace(0, 1, 50)[:, None])
    assert np.abs(y - [0.25, 0.8]).max() < 0.03 and found.rmse < 0.002


def test_what_an_example_does_not_hold_is_not_learned_from_it():
    positions = np.array([[0.0], [0.5], [1.0]])
    values = np.array([[0.1, np.nan], [0.9, 0.2], [0.1, 0.6]])
    found = fit(positions, values)
    assert np.nanmax(np.abs(played(found, positions) - values)) < 0.01
    first = played(found, positions)[0, 1]
    assert 0.15 <= first <= 0.25  # beyond its outermost example a knob does not turn back


def test_going_on_keeps_the_shape_where_nothing_new_was_taught():
    rng = np.random.default_rng(7)
    kept, anew = [], []
    for _ in range(10):
        positions = np.array([[0.0], [0.3], [0.6], [1.0], [0.8]])
        values = rng.uniform(size=(5, 3))
        old, fresh = fit(positions[:4], values[:4], seed=1), fit(positions, values, seed=2)
        warm = fit(positions, values, start=old.weights)
        line = np.linspace(0, 0.6, 100)[:, None]  # up to the examples on either side of the new one
        assert warm.rmse < 0.005
        kept.append(np.abs(played(warm, line) - played(old, line)).mean())
        anew.append(np.abs(played(fresh, line) - played(old, line)).mean())
    assert np.median(kept) < 0.01 and np.median(kept) < np.median(anew)
    again = fit(positions[:4], values[:4], start=old.weights)
    assert again.steps < 50 and again.rmse < 0.003  # nothing to do


def test_the_same_seed_gives_the_same_weights_and_the_loss_is_told():
    rng = np.random.default_rng(3)
    positions, values = draw(rng, 2, 5, 3)
    one, two, other = fit(positions, values), fit(positions, values), fit(positions, values, seed=9)
    assert all((a == b).all() for a, b in zip(one.weights, two.weights, strict=True))
    assert any((a != b).any() for a, b in zip(one.weights, other.weights, strict=True))
    assert 1 < len(one.curve) <= 64 and (one.curve > 0).all() and one.curve[-1] < one.curve[0] / 100


def test_more_than_the_units_can_tell_apart_is_fitted_as_well_as_it_goes():
    rng = np.random.default_rng(4)
    found = fit(np.linspace(0, 1, 40)[:, None], rng.uniform(size=(40, 20)), steps=300)
    assert found.weights.out.shape == (20, 16) and found.residuals.shape == (40,) and 0.01 < found.rmse < 0.3


@pytest.mark.parametrize(
    ("positions", "values", "said"),
    [
        (np.zeros((0, 1)), np.zeros((0, 2)), "no examples"),
        (np.array([[0.5]]), np.array([[np.nan]]), "no examples"),
        (np.array([[np.nan]]), np.array([[0.5]]), "position"),
        (np.array([[1.5]]), np.array([[0.5]]), "position"),
        (np.array([[0.5], [0.9]]), np.array([[np.inf], [0.1]]), "value"),
        (np.array([[0.5]]), np.array([[-0.1]]), "value"),
        (np.array([[0.5, 0.5, 0.5]]), np.array([[0.1]]), "1 or 2 knobs, not 3"),
        (np.array([[0.5]]), np.array([[0.1], [0.2]]), "are not"),
        (np.linspace(0, 1, 65)[:, None], np.zeros((65, 1)), "64 of each"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_words(positions, values, said):
    with pytest.raises(TrainerError, match=said):
        fit(positions, values)


def test_two_values_at_one_place_meet_in_the_middle():
    found = fit(np.array([[0.4], [0.4], [0.9]]), np.array([[0.2], [0.8], [0.5]]))
    assert abs(played(found, [[0.4]])[0, 0] - 0.5) < 0.05 and found.residuals[:2].min() > 0.25
