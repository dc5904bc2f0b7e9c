"""Overdrive from networks of random weights: every seed another pedal, safe to turn on unheard.

The network is a plain stack of convolutions (Steinmetz and Reiss, "Randomized overdrive neural networks", 2020). What
it does to level and DC is a matter of luck too, over more than 200 dB; so each draw is measured once, when it is made,
on plucked strings at every drive, and what comes out is then kept at the loudness of what went in (see `leveller`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from . import leveller
from .activations import ACTIVATIONS
from .convolution import CausalConv, Past, extend, steady
from .dsp.gain import amplitude
from .effect import Knob, when_moving
from .settings import SettingError, setting

LONGEST_FIELD_S = 2.0  # beyond it one hears separate echoes instead of one sound
MOST_MULTIPLICATIONS = 1_000_000  # a sample; beyond it no computer plays the network live
LEAK_DB = -24.0  # of the dry signal, under every network: what is heard where the network gives nothing
WAKING_DB = 36  # how much louder than the input a network may be fed for it to answer
DRAWS = 64  # how many networks are tried until one answers
BUSY = 0.03  # (mean of |y|)^2 over mean of y^2: the least of a network that is awake; of plucked strings: 0.5
LARGEST = 1e30  # amplitude inside the network
STEP_DB, RANGE_DB = 6, 24  # the drive's range, and the distance of the levels a network is measured at
REFERENCE_SAMPLES = 4096

INITS = ("normal", "uniform_0.25", "uniform_1", "xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform")


class RandomizedOverdrive(nnx.Module):
    """A network of random weights as an overdrive; level-matched, DC-blocked, and never above full scale.

    drive turns the network's input up or down and changes the colour only: the output is as loud as the dry input
    whatever the network and the drive. level is the volume after that; mix fades to the dry signal. Peaks that stand
    out far above the signal, or come near full scale, are bent softly; the wet signal never passes 1.

    Networks are drawn from the seed until one answers: some are dead (a narrow ReLU net may be constant, softshrink
    silences what is small). Each draw is tried at the input's level first, then up to 36 dB louder; the same seed
    always ends with the same network. If nothing answers in 64 draws the box passes the dry signal.

    Channels go through the same network, each with its own memory. The sums are made in a fixed order: such networks
    can be chaotic, and every bit counts. Raises SettingError for a network that hears more than 2 s (24 layers with a
    growth of 4 would hear a century) or needs more than a million multiplications a sample.
    """

    @dataclass(frozen=True)
    class Settings:
        """What network; boxes that differ in their seed alone share compiled programs."""

        layers: int = setting(6, low=1, high=24, help="convolutions, with the activation between them")
        kernel_size: int = setting(3, low=1, high=64, help="taps of each")
        channels: int = setting(8, low=1, high=64, help="signals between them")
        dilation_growth: int = setting(1, low=1, high=4, help="each layer's taps lie this many times further apart")
        bias: bool = setting(False, help="add random offsets: asymmetric, with even harmonics")
        depthwise: bool = setting(False, help="inner layers keep their channels apart")
        activation: str = setting("tanh", choices=tuple(ACTIVATIONS), help="the nonlinearity")
        init: str = setting("kaiming_uniform", choices=INITS, help="the distribution of the weights")
        seed: int = setting(42, low=0, high=1024, help="which network")

    knobs = (
        Knob("drive", "dB", -RANGE_DB, RANGE_DB, 0.0),
        Knob("level", "dB", -24.0, 24.0, 0.0),
        Knob("mix", "", 0.0, 1.0, 1.0),
    )
    sample_rate = None
    latency = 0
    receptive_field = None  # the level matching never quite forgets; see `network_receptive_field`

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        _refuse_the_absurd(settings, sample_rate)
        self.architecture = replace(settings, seed=0)
        # Not in the static part, and not an integer: seeds then share traces, and boxes can be differentiated.
        self.seed = nnx.Variable(jnp.float32(settings.seed))
        self.rate, self.channels = sample_rate, channels
        drawn = _draw(self.architecture, sample_rate, settings.seed)
        self.convs = nnx.List(_network(self.architecture, drawn.pop("weights"), drawn.pop("biases")))
        self.measured = nnx.Dict({name: nnx.Variable(value) for name, value in drawn.items()})
        self.silence = nnx.Variable(_silence(self.architecture, list(self.convs))[-1][0])  # what silence becomes

    @property
    def settings(self) -> Settings:
        return replace(self.architecture, seed=int(self.seed[...]))

    @property
    def num_parameters(self) -> int:
        """How many random numbers the network is."""
        return sum(math.prod(shape) + self.architecture.bias * shape[0] for shape, *_ in _layers(self.architecture))

    @property
    def network_receptive_field(self) -> int:
        """Samples that the network hears, the present one included."""
        return _receptive_field(self.architecture)

    def initial_state(self, knobs=None):
        columns = _silence(self.architecture, list(self.convs))[:-1]
        pasts = (steady(jnp.tile(c, self.channels), conv.lookback) for c, conv in zip(columns, self.convs, strict=True))
        return tuple(pasts), leveller.start(self.channels)

    def step(self, state, x, knobs):
        pasts, levels = state
        gain, makeup, volume = jnp.split(when_moving(self._gains, knobs), 3, axis=1)
        y, pasts = self._through_network(pasts, gain * x)
        follow_s = max(leveller.FOLLOW_S, self.network_receptive_field / self.rate)
        wet = (y - self.silence[...]) * makeup
        wet, levels = leveller.match(levels, x, wet, amplitude(LEAK_DB), volume, self.rate, follow_s)
        mix = self.knobs[2].value(knobs[:, 2:3])
        return (1 - mix) * x + mix * wet, (pasts, levels)

    def _gains(self, knobs: Float[Array, "T K"]) -> Float[Array, "T 3"]:
        """Factors of the network's input, of its output, and of the matched signal."""
        drive_db = self.knobs[0].value(knobs[:, :1])
        table = self.measured["makeup_db"][...]
        place = (drive_db + RANGE_DB) / STEP_DB
        near = jnp.maximum(1 - jnp.abs(place - jnp.arange(len(table), dtype=jnp.float32)[None]), 0)  # linear between
        makeup_db = (near * table[None]).sum(1, keepdims=True)
        level_db = self.knobs[1].value(knobs[:, 1:2])
        return amplitude(jnp.concatenate([drive_db + self.measured["waking_db"][...], makeup_db, level_db], axis=1))

    def _through_network(self, pasts: tuple[Past, ...], x: Float[Array, "T C"]):
        """The network on each channel; signals lie side by side in one past, channel by channel."""
        y, after = x.T, []
        for n, (conv, past) in enumerate(zip(self.convs, pasts, strict=True)):
            window = extend(past, y)
            taps = conv.taps(window).reshape(self.channels, conv.inputs, -1, len(x))
            y = jax.vmap(partial(conv.mix, ordered=True))(taps)
            y = _activate(self.architecture, n, y).reshape(-1, len(x))
            after.append(window.after)
        return y.T, tuple(after)


def _layers(s) -> list[tuple[tuple[int, int, int], int, int]]:
    """Weight shape, dilation and groups of every layer; only the inner ones are ever depthwise."""
    layers = []
    for n in range(s.layers):
        inputs, outputs = 1 if n == 0 else s.channels, 1 if n == s.layers - 1 else s.channels
        groups = s.channels if s.depthwise and 0 < n < s.layers - 1 else 1
        layers.append(((outputs, inputs // groups, s.kernel_size), s.dilation_growth**n, groups))
    return layers


def _receptive_field(s) -> int:
    return 1 + sum((shape[2] - 1) * dilation for shape, dilation, _ in _layers(s))


def _refuse_the_absurd(s, rate: int) -> None:
    field, longest = _receptive_field(s), int(LONGEST_FIELD_S * rate)
    what = f"random_overdrive: layers = {s.layers}, kernel_size = {s.kernel_size}"
    if field > longest:
        heard = f"{what}, dilation_growth = {s.dilation_growth} hears {field} samples"
        raise SettingError(f"{heard}; at most {longest} ({LONGEST_FIELD_S:g} s): lower one of the three")
    work = sum(math.prod(shape) for shape, *_ in _layers(s))
    if work > MOST_MULTIPLICATIONS:
        needs = f"{what}, channels = {s.channels} needs {work} multiplications a sample"
        raise SettingError(f"{needs}; at most {MOST_MULTIPLICATIONS}: lower one of the three, or set depthwise")


def _activate(s, layer: int, y):
    y = jnp.clip(y, -LARGEST, LARGEST)  # 24 layers of weights from N(0, 1) may multiply by more than a float can hold
    return y if layer == s.layers - 1 else ACTIVATIONS[s.activation](y)


@partial(jax.jit, static_argnums=0)
def _silence(s, convs) -> list[Float[Array, " C"]]:
    """What endless silence has become where each layer begins, and behind the last."""
    columns = [jnp.zeros(1)]
    for n, conv in enumerate(convs):
        columns.append(_activate(s, n, conv.constant(columns[-1], ordered=True)))
    return columns


def _network(s, weights, biases) -> list[CausalConv]:
    layers = zip(_layers(s), weights, biases, strict=True)
    return [CausalConv(w, b, dilation=dilation, groups=groups) for (_, dilation, groups), w, b in layers]


def plucked_strings(rate: int, samples: int) -> Float[np.ndarray, " N"]:
    """A guitar-like test signal: five strings plucked one after another, peak 0.7. Rendered, so always the same."""
    total = np.zeros(samples)
    for n, pitch_hz in enumerate((82.4, 146.8, 329.6, 196.0, 110.0)):
        t = np.maximum(np.arange(samples) - n * samples / 5, 0) / rate
        for harmonic in range(1, 12):
            if harmonic * pitch_hz < rate / 3:
                phase = 2 * np.pi * harmonic * pitch_hz * t
                total += np.sin(phase) * np.exp(-(6 + 2 * harmonic) * t) / harmonic
    return (0.7 * total / np.abs(total).max()).astype(np.float32)


@partial(jax.jit, static_argnums=(0, 1))
def _draw(s, rate: int, seed) -> dict:
    """The first network of this seed that answers, and what was measured on it.

    weights, biases  of every layer
    waking_db        how much louder its input must be than what it is given
    makeup_db        `[9]`: what brings its output to the input's loudness, for drives of -24, -18 .. 24 dB
    """
    key = _key(s, seed)

    def attempt(n):
        return _measure(s, rate, *_weights(s, jax.random.fold_in(key, n)))

    def dead(carry):
        n, found = carry
        return ~found["alive"] & (n < DRAWS)

    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(attempt, 0))
    _, found = jax.lax.while_loop(dead, lambda carry: (carry[0] + 1, attempt(carry[0])), (0, nothing))
    return {name: value for name, value in found.items() if name != "alive"}


def _key(s, seed):
    """Every init draws its own numbers: scaled ones of another would be the same sound, level-matched."""
    return jax.random.fold_in(jax.random.key(seed), INITS.index(s.init))


def _weights(s, key):
    """Random weights, and biases (None without); cut from one draw each."""
    shapes = [shape for shape, *_ in _layers(s)]
    weight_key, bias_key = jax.random.split(key)
    draw = jax.random.normal if s.init.endswith("normal") else partial(jax.random.uniform, minval=-1.0, maxval=1.0)
    edges = np.cumsum([math.prod(shape) for shape in shapes])
    drawn = jnp.split(draw(weight_key, (int(edges[-1]),)), edges[:-1])
    weights = [part.reshape(shape) * _scale(s.init, shape) for part, shape in zip(drawn, shapes, strict=True)]
    if not s.bias:
        return weights, [None] * len(shapes)
    edges = np.cumsum([shape[0] for shape in shapes])
    drawn = jnp.split(jax.random.uniform(bias_key, (int(edges[-1]),), minval=-1.0, maxval=1.0), edges[:-1])
    return weights, [part / math.sqrt(math.prod(shape[1:])) for part, shape in zip(drawn, shapes, strict=True)]


def _scale(init: str, shape: tuple[int, int, int]) -> float:
    """What a draw from N(0, 1) or U(-1, 1) is multiplied by; fans as PyTorch counts them, gains 1 and sqrt(2)."""
    fan_in, fan_out = shape[1] * shape[2], shape[0] * shape[2]
    return {
        "normal": 1.0,
        "uniform_0.25": 0.25,
        "uniform_1": 1.0,
        "xavier_normal": math.sqrt(2 / (fan_in + fan_out)),
        "xavier_uniform": math.sqrt(6 / (fan_in + fan_out)),
        "kaiming_normal": math.sqrt(2 / fan_in),
        "kaiming_uniform": math.sqrt(6 / fan_in),
    }[init]


def _measure(s, rate: int, weights, biases) -> dict:
    """Everything about a network that depends on luck; see `_draw`.

    It is awake at a level where it answers with more than a few spikes, and still answers 12 dB below.
    """
    convs = _network(s, weights, biases)
    samples = REFERENCE_SAMPLES + _receptive_field(s)
    strings = jnp.asarray(plucked_strings(rate, samples))
    weighting = jnp.asarray(leveller.weighting(np.fft.rfftfreq(samples, 1 / rate)), jnp.float32)
    levels_db = np.arange(-RANGE_DB, RANGE_DB + WAKING_DB + 1, STEP_DB)

    def loudness_db(y):
        return 10 * jnp.log10((jnp.abs(jnp.fft.rfft(y - y.mean())) ** 2 * weighting).sum() + 1e-30)

    def answer(gain):
        y, before, column = gain * strings[None], jnp.zeros(1), jnp.zeros(1)
        for n, conv in enumerate(convs):
            y = _activate(s, n, conv(extend(steady(column, conv.lookback), y)))
            before, column = column, _activate(s, n, conv.constant(column))
        moved = y[0] - column[0]
        most = jnp.abs(moved).max()
        rounded = (
            1e-5 * (jnp.abs(weights[-1][0]) * jnp.abs(before)[:, None]).sum()
        )  # what rounding errors may amount to
        hears = moved.std() > rounded + 1e-30
        shape = jnp.abs(moved) / jnp.maximum(most, 1e-30)
        busy = jnp.square(shape.mean()) > BUSY * jnp.square(shape).mean()
        return loudness_db(moved / most) + 20 * jnp.log10(most), hears, hears & busy

    answer_db, hears, busy = jax.lax.map(answer, amplitude(jnp.asarray(levels_db, jnp.float32)))
    nominal = np.arange(WAKING_DB // STEP_DB + 1) + RANGE_DB // STEP_DB
    awake = busy[nominal] & hears[nominal - 12 // STEP_DB]
    waking = jnp.argmax(awake)
    makeup_db = loudness_db(strings) - answer_db
    makeup_db = jnp.where(hears, makeup_db, makeup_db[nominal[0] + waking])
    makeup_db = jnp.where(awake.any(), makeup_db, 0.0)
    return {
        "alive": awake.any(),
        "weights": weights,
        "biases": biases,
        "waking_db": STEP_DB * waking.astype(jnp.float32),
        "makeup_db": jax.lax.dynamic_slice_in_dim(makeup_db, waking, 2 * RANGE_DB // STEP_DB + 1),
    }
