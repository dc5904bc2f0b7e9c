"""How a steered network begins: weights by what they hear, steps of their size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels.recurrent import LSTM
from jaxmodels.tcn import SteerableTCN
from trainer import config, data, recipes, tcn, train

pytestmark = pytest.mark.usefixtures("remembered")

RATE = 44100
RNG = np.random.default_rng(0)
QUIET = (0.01 * np.cumsum(RNG.normal(size=(6000,)) * np.sin(np.arange(6000) / 50)) / 20).astype(np.float32)
WET = (0.3 * np.tanh(QUIET / 0.005)).astype(np.float32)
PAIR = data.Pair(QUIET, WET, RATE)


def net(seed: int = 0) -> SteerableTCN:
    settings = SteerableTCN.Settings(blocks=3, width=4, kernel_size=3, dilation_growth=4, controls=2)
    return SteerableTCN(settings, sample_rate=RATE, rngs=nnx.Rngs(seed))


def answers(effect, dry, cs=(0.0, 0.0)):
    positions = [knob.position(c) for knob, c in zip(effect.knobs, cs, strict=True)]
    before = np.concatenate([np.zeros(effect.receptive_field - 1, np.float32), dry])
    x = np.stack([before, *(np.full(len(before), p, np.float32) for p in positions)], axis=1)
    return np.asarray(jax.jit(lambda x: tcn.steerable(effect, x))(jnp.asarray(x[None]))[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_first_output_is_about_as_loud_as_the_recording(seed):
    begun, _ = recipes.standardised(net(seed), [PAIR])
    y = answers(begun, QUIET)
    loud = np.sqrt(np.mean(WET**2))
    assert 0.5 * loud < np.std(y) < 1.5 * loud
    drawn = answers(net(seed), QUIET)
    assert np.std(drawn) < 0.1 * loud, "without it the signal is drowned"


def test_every_layer_hears_signals_of_variance_one_and_the_knobs_stay_as_they_were_drawn():
    begun, _ = recipes.standardised(net(), [PAIR])
    levels = tcn.Levels(float(np.sqrt(np.mean(QUIET**2))), float(np.sqrt(np.mean(WET**2))))
    signal = jnp.asarray(np.concatenate([np.zeros(begun.receptive_field - 1, np.float32), QUIET])[None, :, None])
    for n, (block, drawn) in enumerate(zip(begun.blocks, net().blocks, strict=True)):
        weight = block.conv.weight[...].transpose(2, 1, 0)
        heard = np.asarray(tcn.convolve(signal, weight, block.conv.dilation)) + np.asarray(block.conv.bias)
        np.testing.assert_allclose(heard.mean((0, 1)), 0, atol=1e-2)
        np.testing.assert_allclose(heard.std((0, 1)), 1, rtol=1e-2)
        scale = levels.wet if n == 2 else 1.0
        np.testing.assert_allclose(block.film_weight, scale * drawn.film_weight[...], rtol=1e-2)
        gamma, beta = np.split(np.asarray(block.film_bias), 2)
        late = tcn._through(block.residual[...].T, tcn._late((block.conv.dilation, block.lookback, 1), signal))
        u = gamma * heard + beta
        signal = jnp.asarray(np.maximum(u, 0) + np.asarray(block.slope) * np.minimum(u, 0) + np.asarray(late))


def test_levels_are_gains_before_and_behind():
    levels = tcn.Levels(0.02, 3.0)
    want = 3.0 * answers(net(), QUIET / 0.02, (1.5, -0.5))
    np.testing.assert_allclose(answers(tcn.levelled(net(), levels), QUIET, (1.5, -0.5)), want, atol=1e-4)


def test_steps_are_those_that_recordings_of_level_one_would_ask_for():
    levels = tcn.Levels(0.02, 3.0)
    schedule = config.Schedule(batch=1, segment=4000, fixed=True, clip=0.1)
    loss = recipes.weighted({"mae": 1.0})

    def losses(effect, dry, wet, rates):
        job = recipes.Job(effect, data.Split([data.Pair(dry, wet, RATE)], [], []), loss, schedule, "loss", rates)
        step = train.stepper(job)
        return np.array([step() for _ in range(20)])

    plain = losses(net(), QUIET / 0.02, WET / 3.0, None)
    own = losses(tcn.levelled(net(), levels), QUIET, WET, tcn.rates(net(), levels))
    assert plain[-1] < 0.8 * plain[0]
    np.testing.assert_allclose(own / 3.0, plain, rtol=0.02)


def test_another_network_is_refused_by_name():
    with pytest.raises(config.TrainerError, match="standardise = true: a LSTM"):
        recipes.standardised(LSTM(LSTM.Settings(hidden=4), sample_rate=RATE), [PAIR])
