"""Every box, a row or more each: every law runs on every row (`tests/jaxmodels/test_laws.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxmodels.blend import Alignment, Blend
from jaxmodels.boxes import make
from jaxmodels.convnet import ConvNet, Linear
from jaxmodels.convstack import ConvStack
from jaxmodels.dsp.resample import at_rate
from jaxmodels.effect import Chain, Effect, Knob, PerChannel
from jaxmodels.evened import COARSE, Evened
from jaxmodels.formats.nam_knobs import Encoded, inputs_of
from jaxmodels.layers import Layers, Scaled, Spec
from jaxmodels.levels import Levels
from jaxmodels.pedalnet import PedalNet
from jaxmodels.recurrent import GRU, LSTM
from jaxmodels.recurrent import Settings as Recurrent
from jaxmodels.tcn import MicroTCN, SteerableTCN
from jaxmodels.wavenet import WaveNet
from tests.wavenets import SMALL, STEERED, settings


@dataclass(frozen=True)
class Row:
    """How to make the box, and what `verify_effect` is told of it.

    Each block length is two programs to compile and the gradient two more, which for a box of many parts are seconds;
    so the default suite asks for less, and leaves out the variants of boxes that have a row in it already.
    """

    make: Any  # () -> Effect
    laws: dict[str, Any] = field(default_factory=dict)  # what the box needs: tolerance, flat_response, ...
    brief: dict[str, Any] = field(default_factory=dict)  # in the default suite besides: fewer blocks, no gradient
    variant: bool = False


def box(kind: str, settings: dict | None = None, channels: int = 1, brief=None, variant=False, **laws) -> Row:
    """A row for a box of the table in `jaxmodels.boxes`."""
    return Row(lambda: make(kind, settings, sample_rate=48000, channels=channels), laws, brief or {}, variant)


def brief(*blocks: int, **laws) -> dict[str, Any]:
    return {"blocks": blocks, **laws}


def build(name: str) -> Effect:
    return EFFECTS[name].make()


def short_delay(channels: int, ping_pong: bool = False) -> Effect:
    """A delay that echoes, untouched, after 2 ms: the laws listen for 640 samples."""
    delay = make("delay", {"ping_pong": ping_pong}, channels=channels)
    delay.knobs = (replace(delay.knobs[0], default=2.0), *delay.knobs[1:])
    return delay


def resampled(own: int, rack: int, channels: int = 1) -> Effect:
    return at_rate(LSTM(Recurrent(inputs=2, hidden=4), sample_rate=own), rack, channels)


def resampled_tcn(own: int, rack: int) -> Effect:
    settings = MicroTCN.Settings(blocks=2, width=4, kernel_size=4, dilation_growth=30)
    return at_rate(MicroTCN(settings, sample_rate=own), rack)


def small_micro(causal: bool) -> Effect:
    return MicroTCN(MicroTCN.Settings(blocks=2, width=4, kernel_size=9, dilation_growth=16, causal=causal))


def small_steerable() -> SteerableTCN:
    return SteerableTCN(SteerableTCN.Settings(blocks=2, width=4, kernel_size=9, dilation_growth=16))


def evened() -> Effect:
    """A steered network whose gain depends on where its controls stand."""
    return Evened(small_steerable(), np.random.default_rng(0).uniform(-20, 6, (len(COARSE), len(COARSE))))


def levelled() -> Effect:
    """A capture that is calibrated, turned over and late."""
    return Levels(LSTM(Recurrent(inputs=2, hidden=4)), input_db=-3.0, output_db=4.0, inverted=True, delay=37)


def blended() -> Effect:
    """A capture, and another that is seven samples late, lined up."""
    a, b = LSTM(Recurrent(hidden=4)), Levels(LSTM(Recurrent(hidden=3)), delay=7)
    return Blend(Levels(a), b, Alignment(lag=7, sign=1, correlation=0.6, ratio=1.4))


def blended_by_hand() -> Effect:
    """A stereo pair with nothing but gains, b moved further away."""
    a, b = (make("gain", channels=2) for _ in "ab")
    return Blend(a, Levels(b, delay=3), delay_a=2, delay_b=5)


def response(taps: int) -> Effect:
    """A Linear of random taps that die away, the first one the loudest."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, taps) * np.exp(-4 * np.arange(taps) / taps)
    return Linear(np.append(1.0, noise[1:]).astype(np.float32), 0.1)


def encoded() -> Effect:
    knobs = (Knob("gain", "", 0.0, 10.0, 3.0), Knob("voice", "", 0.0, 2.0, 1.0, labels=("dark", "flat", "bright")))
    return Encoded(LSTM(Recurrent(inputs=5, hidden=4, skip=False), knobs=inputs_of(knobs)), knobs)


def stack(skip: bool = False) -> Layers:
    """Every kind of layer that streams; its convolution hears 300 samples."""
    weights = np.random.default_rng(0)

    def w(**shapes):
        return {name: weights.uniform(-0.5, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}

    specs = [
        Spec("dense", w(weight=(2, 4), bias=(4,))),
        Spec("activation", {}, {"name": "tanh"}),
        Spec("conv1d", w(weight=(6, 2, 3), bias=(6,)), {"dilation": 150, "groups": 2}),
        Spec("prelu", w(slope=(6,))),
        Spec("batchnorm", w(scale=(6,), shift=(6,))),
        Spec("recurrent", w(weight_ih=(6, 9), weight_hh=(3, 9), bias=(9,)), {"cell": "gru"}),
        Spec("dense", w(weight=(3, 1))),
    ]
    return Layers(specs, skip=skip, knobs=(Knob("PARAM1"),))


def pedalnet() -> PedalNet:
    s, weights = PedalNet.Settings((1, 7, 150), 4, 3, "gated"), np.random.default_rng(0)
    return PedalNet(s, {name: weights.uniform(-0.5, 0.5, shape) for name, shape in PedalNet.shapes(s).items()})


FLAT = {"flat_response": False}
NO_GRADIENT = {"gradients": False}  # of what is not trained, or whose kind of network has a row or a test with one
EFFECTS: dict[str, Row] = {
    "stack of layers": Row(stack, brief=brief(1, 70, **NO_GRADIENT)),
    "stack of layers and the dry signal, between gains": Row(lambda: Scaled(stack(skip=True), 3.0, 0.5), variant=True),
    "pedalnet": Row(pedalnet, brief=brief(70, **NO_GRADIENT)),
    "gain": box("gain", channels=2),
    "gain on each channel": Row(lambda: PerChannel(make("gain"), 2)),
    "level": box("level", channels=2, length=640, brief=brief(64)),
    "noise gate": box("noise_gate", length=640, brief=brief(64)),
    "noise gate, stereo": box("noise_gate", channels=2, length=640, variant=True),
    "dc block": box("dc_block", channels=2, length=640, brief=brief(1, 64)),
    "low-pass": box("low_pass", length=640, brief=brief(64)),
    "eq": box("eq", channels=2, length=640, brief=brief(1, 64)),
    "delay": Row(lambda: short_delay(channels=1), {"length": 640}, brief(64, **NO_GRADIENT)),
    "delay, ping-pong": Row(lambda: short_delay(channels=2, ping_pong=True), {"length": 640}, variant=True),
    "limiter": box("limiter", level=3.0, tolerance=1e-5, length=704, brief=brief(64, **NO_GRADIENT)),
    "limiter, stereo": box("limiter", channels=2, level=3.0, tolerance=1e-5, variant=True),
    "lstm of 44.1 kHz in a rack of 48": Row(lambda: resampled(44100, 48000), {"length": 640}, brief(64, **NO_GRADIENT)),
    "lstm of 48 kHz in a stereo rack of 96": Row(lambda: resampled(48000, 96000, 2), {"length": 640}, variant=True),
    "tcn of 48 kHz in a rack of 44.1": Row(lambda: resampled_tcn(48000, 44100), {"length": 640, **FLAT}, variant=True),
    "lstm": Row(lambda: LSTM(Recurrent(hidden=8)), brief=brief(1, 70)),
    "lstm, two layers, three inputs": Row(
        lambda: LSTM(Recurrent(inputs=3, hidden=8, layers=2, bias=False, skip=False)), brief=brief(5, 64), variant=True
    ),
    "gru": Row(lambda: GRU(Recurrent(inputs=2, hidden=8)), brief=brief(4, 175, **NO_GRADIENT)),
    "lstm on each channel": Row(
        lambda: PerChannel(LSTM(Recurrent(inputs=2, hidden=8)), 2), brief=brief(100, **NO_GRADIENT)
    ),
    "levels": Row(levelled, {"length": 350}, brief(70, **NO_GRADIENT)),
    "blend": Row(blended, {"length": 350}, brief(70, **NO_GRADIENT)),
    "blend by hand, stereo": Row(blended_by_hand, {"length": 256, **FLAT}, variant=True),
    "nam convnet": Row(lambda: ConvNet(ConvNet.Settings(4, (2, 300))), brief=brief(1, 70)),
    "conv stack": Row(lambda: ConvStack(ConvStack.Settings(2, (3,), 3)), brief=brief(7)),
    "nam linear": Row(lambda: response(20), variant=True),
    "nam linear, long": Row(lambda: response(600), brief=brief(1, 86, **NO_GRADIENT)),
    "nam lstm with encoded knobs": Row(encoded, brief=brief(64, **NO_GRADIENT)),
    "chain of gains": Row(lambda: Chain([make("gain"), make("gain")])),
    "reverb": box("reverb", length=1280, **FLAT, brief=brief(40, **NO_GRADIENT)),
    "reverb, stereo": box("reverb", channels=2, length=1280, **FLAT, variant=True),
    "cab": box("cab", length=1032, brief=brief(86, **NO_GRADIENT)),
    "cab, stereo response": box("cab", {"ir": "2x12-room"}, channels=2, length=1032, variant=True),
    "steerable tcn on each channel": Row(lambda: PerChannel(small_steerable(), 2), variant=True),
    "evened tcn on each channel": Row(lambda: PerChannel(evened(), 2), {"length": 350}, variant=True),
    "evened tcn": Row(evened, {"length": 350}, brief(70, **NO_GRADIENT)),
    "micro tcn": Row(lambda: small_micro(causal=True), brief=brief(7)),
    "micro tcn, not causal": Row(lambda: small_micro(causal=False), FLAT, variant=True),
    "wavenet": Row(lambda: WaveNet(settings(SMALL)), {"length": 350}, brief(1, 70, **NO_GRADIENT)),
    "wavenet steered by a knob": Row(
        lambda: WaveNet(settings(STEERED), knobs=(Knob("drive"),)), {"length": 192}, brief(64, **NO_GRADIENT)
    ),
    "wavenet on each channel": Row(
        lambda: PerChannel(WaveNet(settings(SMALL)), 2), {"length": 320}, brief(64, **NO_GRADIENT)
    ),
    "random overdrive": box("random_overdrive", {"layers": 3}, brief=brief(70, **NO_GRADIENT)),
    "random overdrive, stereo, biased sines, long past": box(
        "random_overdrive",
        {"layers": 4, "kernel_size": 6, "dilation_growth": 4, "bias": True, "activation": "sine"},
        channels=2,
        variant=True,
    ),
    "random overdrive, depthwise, chaotic": box(
        "random_overdrive",
        {"layers": 4, "depthwise": True, "activation": "sine30", "init": "normal"},
        variant=True,
        gradients=False,
    ),
}
