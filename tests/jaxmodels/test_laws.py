"""All laws of the contract, on all boxes."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from flax import nnx

from jaxmodels.laws import LawBroken, verify_effect
from tests.effects import EFFECTS, build


@pytest.mark.parametrize("name", [name for name, row in EFFECTS.items() if not row.variant])
def test_box_keeps_every_law(name):
    verify_effect(build(name), **EFFECTS[name].laws | EFFECTS[name].brief)


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_box_keeps_every_law_in_blocks_of_every_length(name):
    verify_effect(build(name), **EFFECTS[name].laws)


class Liar(nnx.Module):
    """A box that breaks the law it is told to break."""

    knobs, settings, channels, sample_rate, latency, receptive_field = (), None, 1, None, 0, 1

    def __init__(self, lie: str):
        self.lie = lie

    def initial_state(self, knobs=None):
        return jnp.zeros((1, 1))

    def step(self, state, x, knobs):
        lies = {
            "split": lambda: (x + jnp.cumsum(x, 0), state),  # forgets its sum at every block
            "causality": lambda: (x[::-1] if x.shape[0] == 700 else x, state),
            "receptive": lambda: (x + jnp.concatenate([state, x])[:-1], x[-1:]),  # hears two samples, declares one
            "fixed state": lambda: (x, x),
            "finite": lambda: (x / jnp.abs(x).max(), state),
            "one trace": lambda: (x, jnp.full((1, 1), 0.0)),  # weakly typed, unlike the first
        }
        return lies[self.lie]()


@pytest.mark.parametrize("lie", ["split", "receptive", "fixed state", "one trace"])
def test_the_laws_catch_a_liar(lie):
    with pytest.raises(LawBroken, match=lie if lie != "split" else "apply = step|split"):
        verify_effect(Liar(lie))
