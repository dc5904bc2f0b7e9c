"""Recurrent networks in batches: what `step` answers, and the derivative of its scan."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels.bptt import STRETCH, forward, initial_states
from jaxmodels.effect import Knob
from jaxmodels.recurrent import GRU, LSTM, Settings
from jaxmodels.xla import QUICKLY
from tests.variants import slow_except

BATCH, LENGTH = 3, 2 * STRETCH + 6
KNOBS = (Knob("drive", low=-1.0, high=3.0),)
CASES = {
    "lstm": (LSTM, Settings(inputs=2, hidden=5)),
    "gru": (GRU, Settings(inputs=2, hidden=5, skip=False)),
    "lstm of two layers": (LSTM, Settings(inputs=2, hidden=4, layers=2)),
    "gru of two layers": (GRU, Settings(inputs=2, hidden=4, layers=2)),
    "fast tanh": (LSTM, Settings(inputs=2, hidden=4, fast_tanh=True)),
}


@pytest.fixture(params=slow_except(["lstm", "gru of two layers"], CASES))
def case(request):
    cls, settings = CASES[request.param]
    network = cls(settings, knobs=KNOBS, rngs=nnx.Rngs(1))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(0, 0.4, (BATCH, LENGTH, 1)), jnp.float32)
    turns = jnp.asarray(rng.uniform(0, 1, (BATCH, LENGTH, 1)), jnp.float32)
    state = initial_states(network, BATCH)
    return network, state + 0.1, x, turns


def one_by_one(network, state, x, turns):
    """The same with the box's own step."""
    return jax.vmap(network.step)(state, x, turns)


@jax.jit
def batched(network, state, x, turns):
    return forward(network, state, jnp.concatenate([x, KNOBS[0].value(turns)], axis=2))


def test_a_batch_is_every_signal_on_its_own(case):
    network, *arguments = case
    y, state = batched(network, *arguments)
    want, after = jax.jit(one_by_one)(network, *arguments)
    np.testing.assert_allclose(y, want, atol=2e-6)
    np.testing.assert_allclose(state, after, atol=2e-6)


def test_the_state_is_carried(case):
    network, state, x, turns = case
    whole, after = batched(network, state, x, turns)
    at = STRETCH + 3
    first, middle = batched(network, state, x[:, :at], turns[:, :at])
    second, last = batched(network, middle, x[:, at:], turns[:, at:])
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=2e-6)
    np.testing.assert_allclose(last, after, atol=2e-6)


def test_the_derivative_is_that_of_the_scan(case):
    network, *arguments = case
    structure, weights, rest = nnx.split(network, nnx.Param, ...)
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(BATCH, LENGTH, 1)), jnp.float32)

    def gradient(function):
        def total(weights, state, x):
            y, after = function(nnx.merge(structure, weights, rest), state, x, arguments[2])
            return jnp.sum(weight * y) + jnp.sum(jnp.sin(after))

        slope = jax.jit(jax.grad(total, (0, 1, 2)), compiler_options=QUICKLY)
        return jax.tree.leaves(slope(weights, *arguments[:2]))

    for got, want in zip(gradient(batched), gradient(one_by_one), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * float(jnp.abs(want).max()) + 1e-6)
