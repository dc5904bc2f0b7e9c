"""Slimmable WaveNets: narrower networks are cut out of one file."""

from __future__ import annotations

import copy

import numpy as np

from jaxmodels.formats.nam_wavenet import flatten, widths
from tests.jaxmodels.plain_wavenet import Flat, np_wavenet
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_wavenet import TWO, document, read, slimmable, weights_for


def test_a_slimmable_network_is_cut(fixtures):
    config, weights = document(fixtures, "slimmable_wavenet")
    assert widths(config) == ("1 channels", "2 channels", "3 channels")
    whole, named = read(config, weights), read(config, weights, submodel=2)
    assert flatten(whole)[0]["layers"][0]["channels"] == 3
    np.testing.assert_array_equal(flatten(named)[1], flatten(whole)[1])
    x = np.random.default_rng(0).normal(0, 0.3, 60).astype(np.float32)
    # Cut by hand: a network of 3 channels of which the last is deaf and mute is one of 2 channels.
    muted = weights.copy()
    flat = Flat(np.arange(len(weights)))
    drop = [flat.take(3, 1)[2:]]
    for _ in range(10):
        conv = flat.take(3, 3, 3)
        drop += [conv[2:], conv[:, 2:], flat.take(3)[2:], flat.take(3, 1)[2:]]
        point = flat.take(3, 3)
        drop += [point[2:], point[:, 2:], flat.take(3)[2:]]
    drop.append(flat.take(1, 3)[:, 2:])
    for part in drop:
        muted[part.astype(int).ravel()] = 0
    want = np_wavenet(config, muted, np.concatenate([np.zeros(2100), x])[None])[0, 2100:]
    two = read(config, weights, submodel=1)
    assert flatten(two)[0]["layers"][0]["channels"] == 2
    np.testing.assert_allclose(streamed(two, x, 60), want, rtol=0, atol=1e-6)


def test_both_arrays_of_a_slimmable_network_are_cut():
    layers = copy.deepcopy(TWO)
    layers[0] |= {"slimmable": slimmable([2, 4, 6])}
    layers[1] |= {"slimmable": slimmable([1, 3])}
    config, weights = weights_for({"layers": layers})
    assert widths(config) == ("2 + 1 channels", "4 + 3 channels", "6 + 3 channels")
    thin, flat = flatten(read(config, weights, submodel=0))
    assert [array["channels"] for array in thin["layers"]] == [2, 1] and thin["layers"][0]["head"]["out_channels"] == 1
    first = weights[6 : 6 + 12 * 6 * 2].reshape(12, 6, 2)
    np.testing.assert_array_equal(flat[2 : 2 + 4 * 2 * 2].reshape(4, 2, 2), first[:4, :2])
