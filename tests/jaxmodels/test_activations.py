"""NAM's activations against their closed forms in plain numpy, and how files may spell them."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.activations import NAM_ACTIVATIONS, Activation

SPELLINGS = [
    ("Tanh", math.tanh),
    ({"type": "Tanh", "unknown": 3}, math.tanh),
    ({"type": "Hardtanh", "min_val": -2.0, "max_val": 2.0}, lambda v: min(max(v, -1), 1)),
    ("ReLU", lambda v: max(v, 0)),
    ("LeakyReLU", lambda v: v if v > 0 else 0.01 * v),
    ({"type": "LeakyReLU", "negative_slope": 0.2}, lambda v: v if v > 0 else 0.2 * v),
    ({"type": "PReLU", "negative_slope": 0.3}, lambda v: v if v > 0 else 0.3 * v),
    ("Sigmoid", lambda v: 1 / (1 + math.exp(-v))),
    ("SiLU", lambda v: v / (1 + math.exp(-v))),
    ("Hardswish", lambda v: v * min(max(v + 3, 0), 6) / 6),
    ("LeakyHardtanh", lambda v: v if abs(v) <= 1 else math.copysign(1 + 0.01 * (abs(v) - 1), v)),
    (
        {"type": "LeakyHardTanh", "min_val": -0.5, "max_val": 2, "min_slope": 0.1, "max_slope": -0.2},
        lambda v: -0.5 + 0.1 * (v + 0.5) if v < -0.5 else 2 - 0.2 * (v - 2) if v > 2 else v,
    ),
    ("Softsign", lambda v: v / (1 + abs(v))),
]


@pytest.mark.parametrize("spelling, form", [pytest.param(*pair, id=str(pair[0])) for pair in SPELLINGS])
def test_closed_forms(spelling, form):
    x = np.array([[-40, -3, -1.5, -0.7, -1e-4, 0, 1e-4, 0.5, 1, 2.5, 40]], np.float32)
    activation = Activation.read(spelling)
    want = [[form(float(v)) for v in x[0]]]
    np.testing.assert_allclose(activation(jnp.asarray(x)), want, rtol=1e-5, atol=2e-6)
    assert Activation.read(activation.written()) == activation


def test_every_type_is_tested():
    kinds = {spelling if isinstance(spelling, str) else spelling["type"] for spelling, _ in SPELLINGS}
    assert kinds | {"Fasttanh"} == NAM_ACTIVATIONS.keys()


def test_fast_tanh_is_near_tanh_but_is_not_it():
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    error = np.abs(Activation.read("Fasttanh")(jnp.asarray(x)) - np.tanh(x)).max()
    assert 1e-5 < error < 4e-3


def test_a_slope_for_each_channel():
    activation = Activation.read({"type": "PReLU", "negative_slopes": [0.5, 0.25]})
    x = np.array([[-1, 2], [-2, 3]], np.float32)
    np.testing.assert_array_equal(activation(jnp.asarray(x)), [[-0.5, 2], [-0.5, 3]])
    assert Activation.read(activation.written()) == activation and hash(activation)


@pytest.mark.parametrize("name", NAM_ACTIVATIONS)
def test_gradients_are_finite_at_the_corners(name):
    x = jnp.array([[-1e6, -1.0, 0.0, 1.0, 1e6]], jnp.float32)
    assert jnp.isfinite(jax.grad(lambda x: Activation.read(name)(x).sum())(x)).all()


@pytest.mark.parametrize(
    "value, message",
    [
        ("Mish", "'Mish' is none of Tanh, Hardtanh"),
        ("x" * 1000, "'x{40}' is none"),
        (None, "must be a name or an object"),
        ({"name": "Tanh"}, "must be a name or an object with a type"),
        ({"type": ["Tanh"]}, "must be a name or an object with a type"),
        ({"type": "LeakyReLU", "negative_slope": "0.1"}, "negative_slope must be a number"),
        ({"type": "LeakyReLU", "negative_slope": True}, "negative_slope must be a number"),
        ({"type": "LeakyReLU", "negative_slope": 1e300}, "negative_slope must be a number"),
        ({"type": "PReLU", "negative_slopes": 0.1}, "negative_slopes must be a list"),
        ({"type": "PReLU", "negative_slopes": []}, "negative_slopes must be a list"),
        ({"type": "PReLU", "negative_slopes": [None]}, "negative_slopes must be a number"),
    ],
)
def test_what_is_wrong_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        Activation.read(value)
