"""A network with an offset plays without it, from the first sample."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels import apply
from jaxmodels.steady import Steady
from jaxmodels.tcn import SteerableTCN

RATE = 48000


@pytest.fixture(scope="module")
def network():
    """A steered network as it was drawn: it says something in silence."""
    return SteerableTCN(SteerableTCN.Settings(blocks=2, width=4, kernel_size=4, dilation_growth=10))


def test_silence_stays_silent_and_what_is_heard_stays_as_it_is(network):
    x = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE).astype(np.float32)
    offset = float(np.asarray(apply(network, np.zeros(100, np.float32)))[-1])
    assert abs(offset) > 1e-3, "there is something to be taken away"
    steady = Steady(network, RATE)
    np.testing.assert_allclose(apply(steady, np.zeros(5000, np.float32)), 0.0, atol=1e-6)
    y, plain = (np.asarray(apply(box, jnp.asarray(x))) for box in (steady, network))
    late = slice(RATE // 4, None)
    assert abs(y[late].mean()) < 0.05 * abs(offset)
    np.testing.assert_allclose(np.std(y[late]), np.std(plain[late]), rtol=0.02)
    assert np.abs(np.diff(y, prepend=0.0)).max() <= 1.1 * np.abs(np.diff(plain, prepend=offset)).max(), "no jump"
