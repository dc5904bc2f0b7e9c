"""The SuperKnob's network: what it computes, and the weights it begins with."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.superknob import HIDDEN, MARGIN, WIDTH, Weights, aimed, drive, edges, initial_weights


def plain(weights: Weights, positions: np.ndarray) -> np.ndarray:
    """The formula, one sum at a time."""
    out = np.zeros((len(positions), len(weights.offset)))
    for n, position in enumerate(positions):
        hidden = [
            np.tanh(sum(weights.into[h, d] * position[d] for d in range(2)) + weights.bias[h]) for h in range(HIDDEN)
        ]
        for k in range(len(weights.offset)):
            said = sum(weights.out[k, h] * hidden[h] for h in range(HIDDEN)) + weights.offset[k]
            out[n, k] = (1 + 2 * MARGIN) / (1 + np.exp(-said)) - MARGIN
    return out


def test_the_network_is_its_formula():
    rng = np.random.default_rng(0)
    shapes = ((HIDDEN, 2), (HIDDEN,), (3, HIDDEN), (3,))
    weights = Weights(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    positions = rng.uniform(size=(7, 2)).astype(np.float32)
    assert np.allclose(drive(weights, jnp.asarray(positions)), plain(weights, positions), atol=1e-5)


def test_both_ends_of_a_knob_are_reached_with_small_weights():
    flat = initial_weights(np.array([[0.5]]), 2)
    pushed = flat._replace(offset=np.float32([-4, 4]))
    low, high = np.asarray(drive(pushed, jnp.zeros((1, 2))))[0]
    assert low < 0 and high > 1


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_unit_stands_between_each_two_neighbours(dimensions):
    rng = np.random.default_rng(1)
    positions = rng.uniform(size=(6, dimensions))
    weights = initial_weights(positions, 4)
    wide = np.pad(positions, ((0, 0), (0, 2 - dimensions)))
    for unit, (a, b) in enumerate(edges(positions)):
        at_a, at_b = (weights.into[unit] @ wide[n] + weights.bias[unit] for n in (a, b))
        assert np.isclose(at_a, -WIDTH / 2, atol=1e-4) and np.isclose(at_b, WIDTH / 2, atol=1e-4)
    assert not weights.out.any() and weights.out.shape == (4, HIDDEN)
    if dimensions == 1:
        assert not weights.into[:, 1].any()  # the second knob is not there


def test_neighbours_on_a_line_are_the_gaps_and_the_tree_is_the_shortest():
    from scipy.sparse.csgraph import minimum_spanning_tree

    rng = np.random.default_rng(2)
    places = rng.permutation(np.array([0.0, 0.1, 0.3, 0.35, 0.9]))[:, None]
    gaps = sorted(round(float(abs(places[a, 0] - places[b, 0])), 6) for a, b in edges(places))
    assert gaps == [0.05, 0.1, 0.2, 0.55]
    points = rng.uniform(size=(12, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert np.isclose(sum(distance[a, b] for a, b in edges(points)), minimum_spanning_tree(distance).sum())
    assert edges(points[:1]) == []


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_any_number_of_examples_has_a_beginning(count):
    weights = initial_weights(np.full((count, 1), 0.5), 2)  # all at one place as well
    assert all(np.isfinite(array).all() for array in weights)
    again = initial_weights(np.full((count, 1), 0.5), 2)
    assert all((one == other).all() for one, other in zip(weights, again, strict=True))


def test_idle_units_are_aimed_at_what_is_missed_and_the_mapping_hardly_moves():
    rng = np.random.default_rng(5)
    positions = np.array([[0.1], [0.4], [0.45], [0.9]])
    weights = initial_weights(positions[[0, 1, 3]], 2)
    out = rng.normal(size=(2, HIDDEN)).astype(np.float32)
    out[:, 7] = 1e-4  # an idle one; the new example has two edges, so one more unit goes
    out[:, 9] = 1e-4
    weights = weights._replace(out=out)
    after = aimed(weights, positions, np.array([False, False, True, False]))
    changed = np.flatnonzero((after.into != weights.into).any(axis=1))
    assert changed.tolist() == [7, 9] and not after.out[:, changed].any()
    centres = sorted((-after.bias[changed] / after.into[changed, 0]).tolist())
    assert np.allclose(centres, [0.425, 0.675], atol=1e-3)
    line = np.stack([np.linspace(0, 1, 50), np.zeros(50)], axis=-1).astype(np.float32)
    assert np.abs(np.asarray(drive(after, line)) - np.asarray(drive(weights, line))).max() < 1e-3
