"""Steered networks with auto-gain: as loud everywhere as in the middle, no DC, no bursts, and the middle untouched."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx

from jaxmodels import apply, load
from jaxmodels.assets import assets_folder
from jaxmodels.effect import Knob, default_positions
from jaxmodels.evened import FINE, Evened, makeup_db, steered
from jaxmodels.levels import guitar_signal, power_db, weighted_power
from jaxmodels.recurrent import LSTM
from jaxmodels.tcn import MicroTCN, SteerableTCN
from tests.variants import slow_except

RATE = 44100
SETTLED = RATE // 4  # samples after which the DC that came with the first note has died away
PLANE = [(a, b) for a in range(-5, 6) for b in range(-5, 6)]
BETWEEN = np.random.default_rng(0).uniform(-5, 5, (40, 2))  # no point of it is on the grid that is measured


def net(seed: int = 0, controls: int = 2, **more) -> SteerableTCN:
    settings = SteerableTCN.Settings(blocks=4, width=8, controls=controls, **more)
    return SteerableTCN(settings, rngs=nnx.Rngs(seed))


@cache
def measured() -> np.ndarray:
    """What makes `net(0)` even; all points of the plane are played for it."""
    return makeup_db(net(0))


def at(box, *values: float) -> np.ndarray:
    return np.array([knob.position(value) for knob, value in zip(box.knobs, values, strict=True)], np.float32)


def loudness(y) -> float:
    return power_db(weighted_power(np.asarray(y), RATE))


def over(points, box, x) -> tuple[np.ndarray, float]:
    """How much louder than in the middle at these points, dB; and the largest DC, dBFS."""
    middle, found, dc = loudness(apply(box, x)), [], []
    for point in points:
        y = np.asarray(apply(box, x, at(box, *point)))
        assert np.isfinite(y).all(), point
        found.append(loudness(y) - middle)
        settled = float(y[SETTLED:].mean(dtype=np.float64))
        dc.append(20 * np.log10(max(abs(settled), 1e-9)))
    return np.array(found), max(dc)


@pytest.mark.parametrize("model, every", slow_except([(0, 4)], [(0, 4), (0, 1), ("steered-amp.nafx", 1)]))
def test_the_loudness_of_the_middle_is_kept_all_over_the_plane(model, every):
    """Where a PReLU tips over, the loudness leaps by up to 15 dB; beside such an edge the grid can be wrong."""
    box = load(assets_folder() / "models" / model) if isinstance(model, str) else net(model)
    x = guitar_signal(RATE)[:RATE]
    even = Evened(box, measured() if model == 0 else makeup_db(box))
    (raw, raw_dc), (kept, dc) = over(PLANE[::5], box, x), over(PLANE[::every], even, x)
    between, dc_between = over(BETWEEN[:: min(every, 2)], even, x)
    near = np.mean(np.abs(between) <= 3)
    print(f"\n{model}: raw {raw.min():+.1f} to {raw.max():+.1f} dB, DC {raw_dc:.0f} dBFS; evened {kept.min():+.2f} to "
          f"{kept.max():+.2f} dB, DC {dc:.0f} dBFS; between {between.min():+.2f} to {between.max():+.2f} dB, "
          f"{near:.0%} within 3 dB, DC {dc_between:.0f} dBFS")  # fmt: skip
    assert np.ptp(raw) > 10 and raw_dc > -40, "there is something to be done"
    assert np.abs(kept).max() <= 3 and dc < -60
    assert near >= 0.8 and np.abs(between).max() < 10 and dc_between < -60


def test_in_the_middle_the_gain_is_exactly_one():
    """What differs there is the DC block, and nothing that can be heard."""
    plain, x = net(0), guitar_signal(RATE)[:RATE]
    makeup = measured()
    assert makeup[5, 5] == 0 and makeup.shape == (11, 11)
    assert float(Evened(plain, makeup)._gain(default_positions(plain)[None])[0, 0]) == 0
    flat = np.zeros_like(makeup)
    np.testing.assert_array_equal(apply(Evened(plain, makeup), x), apply(Evened(plain, flat), x))


def test_between_the_points_of_the_grid_the_gain_is_linear():
    makeup = np.random.default_rng(0).uniform(-40, 10, (11, 11))
    box = Evened(net(), makeup)
    points = np.random.default_rng(1).uniform(-5, 5, (50, 2))
    rows = np.array([at(box, *point) for point in points])
    there = np.searchsorted(FINE, points) - 1
    share = (points - np.take(FINE, there)) / (np.take(FINE, there + 1) - np.take(FINE, there))
    want = sum(
        makeup[there[:, 0] + i, there[:, 1] + j]
        * np.abs(1 - i - share[:, 0]) * np.abs(1 - j - share[:, 1])
        for i in (0, 1) for j in (0, 1)
    )  # fmt: skip
    np.testing.assert_allclose(box._gain(rows)[:, 0] * 20 / np.log(10), want, atol=1e-3)


def test_a_leap_across_the_plane_does_not_burst():
    """The network remembers what it heard at the old place for a fifth of a second; the gain waits for that."""
    plain = net(0)
    even, x, half = Evened(plain, measured()), guitar_signal(RATE)[:RATE], RATE // 2
    for start, end in (((5, -5), (0, 0)), ((0, 0), (5, -5)), ((0, 0), (-5, 5))):
        left = np.exp(-np.arange(half) / (0.02 * RATE))[:, None]  # as a rack turns its knobs
        rows = np.tile(at(even, *start), (half, 1)), at(even, *end) * (1 - left) + at(even, *start) * left
        knobs = np.concatenate(rows).astype(np.float32)
        peaks = []
        for box in (even, plain):
            still = max(np.abs(apply(box, x, at(box, *place))).max() for place in (start, end))
            peaks += [np.abs(apply(box, x, knobs)).max(), still]
        leap, usual, raw, _ = 20 * np.log10(peaks)
        print(f"\n{start} to {end}: peak {leap:+.1f} dBFS, {usual:+.1f} at rest, {raw:+.1f} without auto-gain")
        assert leap < usual + 18 and leap < raw - 10


def test_silence_is_silent_from_the_first_sample_wherever_the_controls_stand():
    box = Evened(net(0), measured())
    for place in ((0, 0), (5, -5), (-5, 2.5)):
        assert np.abs(apply(box, np.zeros(RATE, np.float32), at(box, *place))).max() < 1e-5


def test_checkpoints_of_one_training_differ_in_numbers_alone():
    one, other = Evened(net(0), measured()), Evened(net(1), -measured())
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert [leaf.shape for leaf in jax.tree.leaves(one)] == [leaf.shape for leaf in jax.tree.leaves(other)]


def test_only_networks_with_uncalibrated_controls_are_steered():
    assert steered(net()) and steered(net(controls=1)) and not steered(net(controls=3))
    assert not steered(SteerableTCN(SteerableTCN.Settings(controls=1), knobs=(Knob("drive"),)))
    assert not steered(MicroTCN()) and not steered(LSTM())


def test_a_large_network_is_measured_at_fewer_points():
    large = SteerableTCN(SteerableTCN.Settings(blocks=3, width=32, dilation_growth=4))
    assert makeup_db(large).shape == (7, 7) and Evened(large, makeup_db(large))._gain(at(large, 0, 0)[None])[0, 0] == 0


@pytest.mark.slow
def test_one_control_is_a_line():
    plain = net(3, controls=1)
    makeup = makeup_db(plain)
    box, x = Evened(plain, makeup), guitar_signal(RATE)[:RATE]
    middle = loudness(apply(box, x))
    assert makeup.shape == (11,)
    assert all(abs(loudness(apply(box, x, at(box, c))) - middle) < 3 for c in (-4.1, -1.3, 0.4, 2.5))


def test_a_signal_that_goes_round_is_heard_as_after_a_long_while():
    plain, x = net(0, dilation_growth=4), guitar_signal(RATE)[2000:2700]
    row = at(plain, 1.0, -2.0)
    long = np.asarray(apply(plain, np.tile(x, 4), row))
    once = jax.jit(SteerableTCN.once_round)(plain, x, row)
    np.testing.assert_allclose(once, long[-len(x) :], atol=1e-5)
