"""AIDA-X captures: RTNeural's Keras JSON with gains, the dry signal added, metadata, and a recorded self-test.

    y = g_out (model(g_in x, PARAM1, PARAM2) [+ g_in x])        g = 10^(dB / 20)

The self-test is a batch of input and what the network answered where it was trained, from zero state, without gains, at
PARAM 0. `read` plays it in plain numpy and refuses a file that has drifted from it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..effect import Effect
from ..layers import Scaled, Spec
from ..recurrent import GRU, LSTM
from . import Facts, ModelFileError, Options, Source, keras, shown, tensor
from .guitarml import said_rate

USUAL_RATE = 48000  # Hz, where the file does not tell one that is a rate
RATES = (1000, 1_000_000)  # Hz
PLAYABLE = (8, 12, 16, 20, 24, 32, 40, 64, 80)  # units of the one layer that AIDA-X's plug-in plays
LOUDEST = 60.0  # dB, of a gain
LARGEST_ERROR = 1e-3  # of the self-test: beyond it the file is refused; good files stay below 2e-6
LONGEST_TEST = 2048  # samples of the self-test that are played,
MOST_WORK = 50_000_000  # or so few that they, times the numbers of the network, stay below this: a fraction of a second
OWN_KEYS = frozenset({"metadata", "in_skip", "in_gain", "out_gain", "samplerate", "input_batch"})
REMEDY = "the file is damaged or was edited; download it again"


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return {"layers", "in_shape"} <= source.keys and bool(OWN_KEYS & source.keys)


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a file with its gains, at the rate asked for or the file's. Raises ModelFileError.

    Gains are folded into the weights, so that captures share compiled programs; where the dry signal is added that
    cannot be, and the box is `layers.Scaled`.
    """
    inputs, specs = keras.parse(source)
    skip, gain_in, gain_out = _skip(source), _gain(source, "in_gain"), _gain(source, "out_gain")
    error = self_test(source, inputs, specs)
    if error is not None and not error <= LARGEST_ERROR:
        figure = f"the network differs by {error:.2g} from what it recorded of itself (at most {LARGEST_ERROR:g})"
        raise ModelFileError(f"{source.name}: self-test failed: {figure}; {REMEDY}")
    rate = options.sample_rate or _rate(source) or said_rate(source.path) or USUAL_RATE
    if gain_in == gain_out == 1:
        return keras.build(source, inputs, specs, rate, skip=skip)
    if skip or specs[-1].kind != "dense" or "weight_ih" not in specs[0].weights:
        return Scaled(keras.build(source, inputs, specs, rate, skip=skip), gain_in, gain_out)
    return keras.build(source, inputs, _with_gains(source.name, specs, gain_in, gain_out), rate)


def facts(source: Source) -> Facts:
    """What the file says of itself; its self-test is not played. Raises ModelFileError."""
    inputs, specs = keras.parse(source)
    said = source.document.get("metadata")
    said = said if isinstance(said, dict) else {}

    def text(*keys):
        return next((said[key].strip() for key in keys if isinstance(said.get(key), str) and said[key].strip()), None)

    esr = next((e for e in (_number(said.get("esr")), _number(source.document.get("esr"))) if e is not None), None)
    notes = [f"{label} {20 * math.log10(gain):+.1f} dB" for label, gain in _gains(source) if gain != 1]
    notes += ["adds the dry signal"] if _skip(source) else []
    if _rate(source) is None:
        notes.append(f"its sample rate is not in the file: {said_rate(source.path) or USUAL_RATE} Hz is assumed")
    if "input_batch" in source.keys:
        notes.append("carries a self-test")
    return Facts(
        keras.architecture(specs),
        _rate(source) or said_rate(source.path),
        tuple(knob.name for knob in keras.parameters(inputs)),
        **keras.counted(specs),
        name=text("name"),
        author=text("author") or _text(source.document.get("author")),
        gear=text("based"),
        tone_type=text("style"),
        licence=text("license", "licence"),
        date=text("date"),
        esr=esr,
        notes=tuple(notes),
    )


def write(effect: LSTM | GRU, facts: Facts | None = None) -> dict[str, Any]:
    """The JSON object of a network, with metadata and a self-test; `read` gives back the same weights, exactly."""
    facts = facts or Facts()
    document = keras.write(effect)
    inputs, specs = keras.parse(Source(Path("self-test"), document=document))
    skip = effect.settings.skip
    seconds = np.arange(LONGEST_TEST) / (effect.sample_rate or USUAL_RATE)
    noise = np.random.default_rng(0).uniform(-1, 1, LONGEST_TEST)
    sweep = np.sin(2 * np.pi * 80 * seconds * (1 + 400 * seconds))
    x = (0.4 * sweep * np.hanning(LONGEST_TEST) + 0.1 * noise).astype(np.float32)
    y = play(specs, np.column_stack([x, np.zeros((len(x), inputs - 1))]))[:, 0] + (x if skip else 0)
    said = {
        "name": facts.name,
        "samplerate": None if effect.sample_rate is None else str(effect.sample_rate),
        "based": facts.gear,
        "style": facts.tone_type,
        "author": facts.author,
        "license": facts.licence,
        "date": facts.date,
        "esr": facts.esr,
    }
    return {
        **document,
        "in_skip": int(skip),
        "in_gain": 0.0,
        "out_gain": 0.0,
        "metadata": {key: value for key, value in said.items() if value is not None},
        "input_batch": x.tolist(),
        "output_batch": y.astype(np.float32).tolist(),
    }


def self_test(source: Source, inputs: int, specs: list[Spec]) -> float | None:
    """The largest difference between what the network answers and what the file recorded; None where it has no test.

    Raises ModelFileError where the recording is no pair of signals.
    """
    keys = ("input_batch", "output_batch")
    if any(source.document.get(key) is None for key in keys):
        return None
    x, y = (tensor(source.document[key], source.name, key).reshape(-1) for key in keys)
    if len(x) != len(y) or not len(x):
        raise ModelFileError(f"{source.name}: a self-test of {len(x)} samples in and {len(y)} out; {REMEDY}")
    length = min(len(x), LONGEST_TEST, max(16, MOST_WORK // (1 + sum(spec.size for spec in specs))))
    x, y = x[:length], y[:length]
    with np.errstate(all="ignore"):
        played = play(specs, np.column_stack([x, np.zeros((length, inputs - 1))]))[:, 0]
        # Trainers record the answer with the dry signal or without.
        errors = [np.abs(played - y).max(), *([np.abs(played + x - y).max()] if _skip(source) else [])]
    return float(min(errors)) if np.isfinite(errors).any() else math.inf


def play(specs: list[Spec], x: np.ndarray) -> np.ndarray:
    """The layers in plain numpy from zero state, `[T, I] -> [T, O]`, in float64."""
    for spec in specs:
        x = _PLAY[spec.kind]({k: v.astype(np.float64) for k, v in spec.weights.items()}, spec.options, x)
    return x


def _sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _play_dense(w, options, x):
    return x @ w["weight"] + w.get("bias", 0.0)


def _play_conv1d(w, options, x):
    outputs, fed, taps = w["weight"].shape
    dilation, groups, length = options["dilation"], options["groups"], len(x)
    past = np.concatenate([np.zeros((min((taps - 1) * dilation, length), x.shape[1])), x])
    y = np.zeros((length, groups, outputs // groups))
    weight = w["weight"].reshape(groups, outputs // groups, fed, taps)
    for k in range(taps):
        lag = (taps - 1 - k) * dilation
        if lag < length:
            at = len(past) - length - lag
            y += np.einsum("tgi,goi->tgo", past[at : at + length].reshape(length, groups, fed), weight[..., k])
    return y.reshape(length, outputs) + w.get("bias", 0.0)


def _play_recurrent(w, options, x):
    hidden = len(w["weight_hh"])
    h, c, y = np.zeros(hidden), np.zeros(hidden), np.empty((len(x), hidden))
    for t, z in enumerate(x @ w["weight_ih"] + w["bias"]):
        if options["cell"] == "lstm":
            i, f, g, o = np.split(z + h @ w["weight_hh"], 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        else:
            r, keep = np.split(_sigmoid(z[: 2 * hidden] + h @ w["weight_hh"][:, : 2 * hidden]), 2)
            if "bias_hn" in w:
                n = z[2 * hidden :] + r * (h @ w["weight_hh"][:, 2 * hidden :] + w["bias_hn"])
            else:
                n = z[2 * hidden :] + (r * h) @ w["weight_hh"][:, 2 * hidden :]
            h = (1 - keep) * np.tanh(n) + keep * h
        y[t] = h
    return y


def _softmax(x):
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _play_activation(w, options, x):
    return {
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "sigmoid": _sigmoid,
        "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "softmax": _softmax,
        "softplus": lambda x: np.logaddexp(0, x),
        "softsign": lambda x: x / (1 + np.abs(x)),
    }[options["name"]](x)


_PLAY = {
    "dense": _play_dense,
    "conv1d": _play_conv1d,
    "recurrent": _play_recurrent,
    "batchnorm": lambda w, options, x: w["scale"] * x + w["shift"],
    "prelu": lambda w, options, x: np.maximum(x, 0) + w["slope"] * np.minimum(x, 0),
    "activation": _play_activation,
}


def _with_gains(name: str, specs: list[Spec], gain_in: float, gain_out: float) -> list[Spec]:
    """The layers with the gains in their first and last weights, rounded once."""
    first, last = specs[0], specs[-1]
    weight_ih = first.weights["weight_ih"].astype(np.float64)
    weight_ih[0] *= gain_in
    with np.errstate(over="ignore"):
        scaled = {key: (array * np.float64(gain_out)).astype(np.float32) for key, array in last.weights.items()}
        weight_ih = weight_ih.astype(np.float32)
    if not all(np.isfinite(array).all() for array in (weight_ih, *scaled.values())):
        raise ModelFileError(f"{name}: with its gains the weights are too large for float32; {REMEDY}")
    first = first._replace(weights={**first.weights, "weight_ih": weight_ih})
    return [first, *specs[1:-1], last._replace(weights=scaled)]


def _gains(source: Source) -> list[tuple[str, float]]:
    return [("input gain", _gain(source, "in_gain")), ("output gain", _gain(source, "out_gain"))]


def _gain(source: Source, key: str) -> float:
    """A gain in dB as a factor."""
    said = source.document.get(key)
    decibels = 0.0 if said is None else _number(said)
    if decibels is None or abs(decibels) > LOUDEST:
        raise ModelFileError(f"{source.name}: {key} is {shown(said)}, must be -{LOUDEST:g} to {LOUDEST:g} dB; {REMEDY}")
    return 10 ** (decibels / 20)


def _skip(source: Source) -> bool:
    said = source.document.get("in_skip")
    value = 0.0 if said is None else _number(said)
    if value not in (0, 1):
        raise ModelFileError(f"{source.name}: in_skip is {shown(said)}, must be 0 or 1; {REMEDY}")
    return value == 1


def _rate(source: Source) -> int | None:
    """The sample rate that the file tells, as a number or as text, in its metadata or beside it."""
    said = source.document.get("metadata")
    for holder in (said if isinstance(said, dict) else {}, source.document):
        for key in ("samplerate", "sample_rate"):
            rate = _number(holder.get(key))
            if rate is not None and RATES[0] <= rate <= RATES[1] and rate == int(rate):
                return int(rate)
    return None


def _number(value: Any) -> float | None:
    """A finite number, also one written as text; None for anything else."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool):
        return float(value)
    if type(value) is int:
        return float(value) if abs(value) < 1e300 else None
    return value if type(value) is float and math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
