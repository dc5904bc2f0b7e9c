"""The streaming convolution against a plain numpy one, for every shape of past, group and block."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels import ring
from jaxmodels.convolution import LONG_BLOCK, SHORT_PAST, CausalConv, extend, num_parameters, steady, torch_uniform
from tests.variants import slow_except


def reference(x, weight, bias, dilation, groups):
    """y[o, n] = bias + sum over i, k of w[o, i, k] x[i, n - (K - 1 - k) d], zeros before the start; float64."""
    outputs, per_group, width = weight.shape
    y = np.zeros((outputs, x.shape[1])) + (0 if bias is None else np.asarray(bias, float)[:, None])
    for o in range(outputs):
        first = o // (outputs // groups) * per_group
        for i in range(per_group):
            for k in range(width):
                lag = (width - 1 - k) * dilation
                late = np.concatenate([np.zeros(lag), x[first + i]])[: x.shape[1]]
                y[o] += float(weight[o, i, k]) * late
    return y


@partial(jax.jit, static_argnames="ordered")
def step(conv, past, x, ordered):
    window = extend(past, x)
    return conv.mix(conv.taps(window), ordered=True) if ordered else conv(window), window.after


def stream(conv, past, x, sizes, ordered=False):
    at, ys = 0, []
    for size in sizes:
        y, past = step(conv, past, x[:, at : at + size], ordered)
        ys.append(y)
        at += size
    return jnp.concatenate(ys, 1)


def network(inputs, outputs, width, *, bias=True, seed=0, **how):
    shapes = {"weight": ((outputs, inputs // how.get("groups", 1), width), 4), "bias": ((outputs,), 4)}
    drawn = torch_uniform(jax.random.key(seed), shapes)
    return CausalConv(drawn["weight"], drawn["bias"] if bias else None, **how)


SHAPES = {
    "plain": dict(inputs=1, outputs=4, width=5, dilation=3),
    "mixing": dict(inputs=4, outputs=6, width=3, dilation=7, bias=False),
    "long past": dict(inputs=2, outputs=2, width=9, dilation=60),
    "groups": dict(inputs=6, outputs=4, width=3, dilation=2, groups=2),
    "depthwise": dict(inputs=5, outputs=5, width=4, dilation=2, groups=5),
    "depthwise, two outputs each": dict(inputs=3, outputs=6, width=3, groups=3),
    "one tap": dict(inputs=3, outputs=2, width=1),
}


@pytest.mark.parametrize("name", slow_except(set(SHAPES) - {"mixing", "depthwise"}, SHAPES))
def test_convolution_equals_its_definition_however_it_is_cut(name):
    conv = network(**SHAPES[name])
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (conv.inputs, 1000)), jnp.float32)
    bias = None if conv.bias is None else conv.bias[...]
    want = reference(np.asarray(x), np.asarray(conv.weight[...]), bias, conv.dilation, conv.groups)
    plain = steady(jnp.zeros(conv.inputs), conv.lookback)
    np.testing.assert_allclose(stream(conv, plain, x, [1000]), want, atol=2e-6)
    cut = [64, 1, 64, 1, 1] + [64] * 13 + [1] * 37
    np.testing.assert_allclose(stream(conv, plain, x, cut), want, atol=2e-6)
    if ring.has_past(plain):
        np.testing.assert_allclose(stream(conv, ring.pack(plain, 64), x, cut), want, atol=2e-6)


def test_long_blocks_take_another_way_to_the_same_gradient():
    conv = network(3, 4, 5, dilation=11)
    x = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (3, LONG_BLOCK + 40)), jnp.float32)

    @jax.jit
    def gradient(conv, past):
        return jax.grad(lambda conv: (conv(extend(past, x)) ** 2).sum())(conv)

    plain = steady(jnp.zeros(3), conv.lookback)
    conv_past = ring.pack(ring.History(plain), LONG_BLOCK + 40)  # a ring is always read tap by tap
    library, taps = gradient(conv, plain), gradient(conv, conv_past)
    np.testing.assert_allclose(library.weight[...], taps.weight[...], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(library.bias[...], taps.bias[...], rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2])
def test_in_order_is_the_same_to_the_last_bit(groups):
    conv = network(6, 8, 5, dilation=3, groups=groups)
    x = jnp.asarray(np.random.default_rng(3).uniform(-1, 1, (6, 700)), jnp.float32)
    plain = steady(jnp.zeros(6), conv.lookback)
    whole = stream(conv, plain, x, [700], ordered=True)
    np.testing.assert_allclose(whole, stream(conv, plain, x, [700]), atol=2e-6)
    for size in (1, 17, 100):
        sizes = [size] * (700 // size) + [1] * (700 % size)
        np.testing.assert_array_equal(stream(conv, plain, x, sizes, ordered=True), whole)


def test_constant_is_the_end_of_a_long_stand():
    for name in ("mixing", "groups", "depthwise"):
        conv = network(**SHAPES[name])
        column = jnp.linspace(-1.0, 1.0, conv.inputs)
        held = jnp.broadcast_to(column[:, None], (conv.inputs, conv.lookback + 1))
        want = reference(np.asarray(held), np.asarray(conv.weight[...]), None, conv.dilation, conv.groups)[:, -1]
        want += 0 if conv.bias is None else np.asarray(conv.bias[...])
        np.testing.assert_allclose(conv.constant(column), want, atol=2e-6)


def test_only_long_pasts_become_rings():
    assert not ring.has_past(steady(jnp.zeros(2), SHORT_PAST))
    past = steady(jnp.asarray([0.5, -1.0]), SHORT_PAST + 1)
    assert ring.has_past(past)
    np.testing.assert_array_equal(past.past, np.repeat([[0.5], [-1.0]], SHORT_PAST + 1, 1))


def test_first_weights_are_those_of_torch():
    drawn = torch_uniform(jax.random.key(0), {"a": ((100, 200), 16), "b": ((30, 2, 5), 100)})
    assert drawn["b"].shape == (30, 2, 5) and 0.09 < np.abs(drawn["b"]).max() <= 0.1
    a = drawn["a"]
    assert np.abs(a).max() <= 0.25
    assert abs(a.std() - 0.25 / np.sqrt(3)) < 2e-3 and abs(a.mean()) < 3e-3


def test_parameters_are_counted_and_nothing_else():
    conv = network(2, 3, 4)
    assert num_parameters(conv) == 2 * 3 * 4 + 3
    conv.constant_gain = nnx.Variable(jnp.ones(7))
    assert num_parameters(conv) == 2 * 3 * 4 + 3


@pytest.mark.parametrize(
    "weight, bias, groups, word",
    [((3, 2), None, 1, "Cout"), ((3, 1, 2), None, 2, "groups"), ((3, 1, 2), (2,), 1, "bias")],
)
def test_shapes_that_do_not_fit_are_refused(weight, bias, groups, word):
    with pytest.raises(ValueError, match=word):
        CausalConv(np.zeros(weight), None if bias is None else np.zeros(bias), groups=groups)
