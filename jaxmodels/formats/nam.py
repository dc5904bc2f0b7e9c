"""NAM captures, `.nam`: the envelope around a network, and every network but the WaveNet.

A model is a JSON object of `version`, `architecture`, `config` and flat `weights`; containers hold more of them. Every
network starts as NAM starts it: an LSTM from the state in its file, after half a second of silence; the others as after
endless silence. Source: NeuralAmpModelerCore (nam_file, get_dsp, linear, convnet, lstm, container).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from ..activations import Activation
from ..convnet import ConvNet, Linear
from ..effect import Chain, Effect, Knob
from ..recurrent import LSTM
from . import Facts, ModelFileError, Options, Source, nam_lstm, nam_wavenet, shown
from .nam_envelope import NEWEST, PARAMETRIC, Model, envelope, parts, submodels
from .nam_knobs import Encoded, encoded_knobs, read_knobs

USUAL_RATE = 48000  # Hz, of files that do not say it
LONGEST_RESPONSE = 2**17  # samples of a Linear
LONGEST_TEXT = 200  # characters of a name


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return {"architecture", "weights"} <= source.keys


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a file: of a container the one that `options` names, the largest where it names none.

    Raises ModelFileError.
    """
    return build(envelope(source.name, source.document), options)


def facts(source: Source) -> Facts:
    """What a file says of itself and of the network that plays by default; raises ModelFileError."""
    return tell(envelope(source.name, source.document))


# --- networks ---


def build(model: Model, options: Options) -> Effect:
    """The network of a model whose envelope was read."""
    if options.submodel is not None and model.architecture != "SlimmableContainer" and not _widths(model):
        if options.submodel != 0:
            raise model.refuse(f"there is no submodel {options.submodel}: it holds one network", "choose none")
        options = replace(options, submodel=None)
    return READERS[model.architecture](model, options)


def _rate_of(model: Model, options: Options) -> int:
    return options.sample_rate or model.rate or USUAL_RATE


def _linear(model: Model, options: Options) -> Effect:
    taps, bias = model.whole("receptive_field", 1, LONGEST_RESPONSE), model.flag("bias")
    channels = model.whole("in_channels", 1, 64, default=1)
    model.whole("out_channels", channels, channels, default=channels)  # the same response for each: a mono box on each
    flat = model.weights(taps + bias)
    return Linear(flat[:taps], float(flat[taps]) if bias else None, sample_rate=_rate_of(model, options))


def _convnet(model: Model, options: Options) -> Effect:
    model.mono()
    model.whole("groups", 1, 1, default=1)  # a mono input cannot be split
    channels, batchnorm = model.whole("channels", 1, 1024), model.flag("batchnorm")
    dilations = _dilations(model)
    try:
        activation = Activation.read(model.config.get("activation"))
    except ValueError as error:
        raise model.refuse(f"config.activation = {shown(model.config.get('activation'))}: {error}") from error
    if options.fast_tanh and activation.type == "Tanh":
        activation = Activation("Fasttanh")
    written = activation.written()
    widths = [1] + [channels] * (len(dilations) - 1)
    extra = 4 * channels + 1 if batchnorm else channels
    take = model.cutter(sum(2 * channels * width + extra for width in widths) + channels + 1)
    blocks = []
    for width in widths:
        weight = take(channels, width, 2)
        blocks.append(_normalised(model, weight, take) if batchnorm else (weight, take(channels)))
    settings = ConvNet.Settings(channels, dilations, written if isinstance(written, str) else json.dumps(written))
    weights = blocks, take(1, channels), take(1)
    try:
        return ConvNet(settings, sample_rate=_rate_of(model, options), weights=weights)
    except ValueError as error:
        raise model.refuse(str(error)) from error


def _normalised(model: Model, weight: np.ndarray, take: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the batch normalisation behind it."""
    mean, variance, scale, shift = (take(len(weight)).astype(np.float64) for _ in range(4))
    spread = variance + take(1)
    if (spread <= 0).any():
        raise model.refuse("weights: a variance of its batch normalisation is not above zero")
    scale = scale / np.sqrt(spread)
    with np.errstate(over="ignore"):
        folded = (weight * scale[:, None, None]).astype(np.float32), (shift - mean * scale).astype(np.float32)
    if not all(np.isfinite(part).all() for part in folded):
        raise model.refuse("weights: its batch normalisation makes numbers too large for float32")
    return folded


def _dilations(model: Model) -> tuple[int, ...]:
    found = model.config.get("dilations")
    good = isinstance(found, list) and 0 < len(found) <= 64
    if not good or not all(type(d) is int and 0 < d <= 2**16 for d in found):
        raise model.refuse(f"config.dilations = {shown(found)}, must be 1 to 64 whole numbers of 1 to {2**16}")
    return tuple(found)


def _lstm(model: Model, options: Options, knobs: tuple[Knob, ...] = ()) -> Effect:
    return nam_lstm.read_lstm(model, _rate_of(model, options), options.fast_tanh, knobs)


def _wavenet(model: Model, options: Options, knobs: tuple[Knob, ...] = ()) -> Effect:
    return nam_wavenet.read_wavenet(
        model.name,
        model.config,
        model.weights(),
        sample_rate=_rate_of(model, options),
        fast_tanh=options.fast_tanh,
        knobs=knobs,
        submodel=options.submodel,
        read_model=lambda name, holder: build(model.inner(holder, name), replace(options, submodel=None)),
    )


def _widths(model: Model) -> tuple[str, ...]:
    return nam_wavenet.widths(model.config) if model.architecture == "WaveNet" else ()


def _container(model: Model, options: Options) -> Effect:
    models = [inner for _, inner in submodels(model)]
    choice = len(models) - 1 if options.submodel is None else options.submodel
    if not 0 <= choice < len(models):
        raise model.refuse(f"there is no submodel {choice}", f"choose one of 0 to {len(models) - 1}")
    return build(models[choice], replace(options, submodel=None))


def _sequential(model: Model, options: Options) -> Effect:
    boxes = [build(part, options) for part in parts(model)]
    try:
        return Chain(boxes)
    except ValueError as error:
        raise model.refuse(str(error)) from error


def _concat(network: Callable[..., Effect]) -> Callable[[Model, Options], Effect]:
    """A network of the parametric fork: its knobs, encoded, are further inputs."""

    def read(model: Model, options: Options) -> Effect:
        knobs = read_knobs(model.name, model.config.get("params"))
        return Encoded(network(model, options, encoded_knobs(knobs)), knobs)

    return read


READERS: dict[str, Callable[[Model, Options], Effect]] = {
    "Linear": _linear,
    "ConvNet": _convnet,
    "LSTM": _lstm,
    "WaveNet": _wavenet,
    "SlimmableContainer": _container,
    "Sequential": _sequential,
    "ConcatLSTM": _concat(_lstm),
    "ConcatWaveNet": _concat(_wavenet),
}


# --- facts ---


def tell(model: Model) -> Facts:
    """What a model whose envelope was read says of itself."""
    plays = _default(model)
    said = {**_said(plays.metadata), **_said(model.metadata)}
    training, gear = said.get("training"), (_text(said.get("gear_make")), _text(said.get("gear_model")))
    concat = plays.architecture in PARAMETRIC
    return Facts(
        architecture=_describe(model),
        sample_rate=plays.rate or USUAL_RATE,
        knobs=tuple(knob.name for knob in read_knobs(plays.name, plays.config.get("params"))) if concat else (),
        submodels=_choices(model),
        parameters=_count(plays),
        name=_text(said.get("name")),
        author=_text(said.get("modeled_by")),
        gear=" ".join(filter(None, gear)) or None,
        gear_type=_text(said.get("gear_type")),
        tone_type=_text(said.get("tone_type")),
        licence=_text(said.get("licence")) or _text(said.get("license")),
        date=_date(said.get("date")),
        loudness_db=_number(said.get("loudness")),
        gain=_number(said.get("gain")),
        input_level_dbu=_number(said.get("input_level_dbu")),
        output_level_dbu=_number(said.get("output_level_dbu")),
        esr=_number(training.get("validation_esr") if isinstance(training, dict) else None),
        notes=tuple(_notes(model, plays)),
    )


def _default(model: Model) -> Model:
    """The network of a container that plays unless another is asked for."""
    return _default(submodels(model)[-1][1]) if model.architecture == "SlimmableContainer" else model


def _describe(model: Model) -> str:
    """Kind and size, short."""
    match model.architecture:
        case "Linear":
            return f"Linear {model.whole('receptive_field', 1, LONGEST_RESPONSE)}"
        case "ConvNet":
            return f"ConvNet {model.whole('channels', 1, 1024)}x{len(_dilations(model))}"
        case "LSTM" | "ConcatLSTM" as kind:
            return f"{kind} {model.whole('num_layers', 1, 8, default=1)}x{model.whole('hidden_size', 1, 1024)}"
        case "SlimmableContainer":
            models = [inner for _, inner in submodels(model)]
            return f"{_describe(models[-1])}, largest of {len(models)}"
        case "Sequential":
            return f"Sequential of {', '.join(map(_describe, parts(model)))}"
        case "ConcatWaveNet":
            return f"Concat{nam_wavenet.architecture(model.config)}"
    return nam_wavenet.architecture(model.config)


def _choices(model: Model) -> tuple[str, ...]:
    """What `options.submodel` chooses from, smallest first, as people read it."""
    if model.architecture == "SlimmableContainer":
        return tuple(f"{_describe(inner)}, size up to {size:g}" for size, inner in submodels(model))
    return _widths(model)


def _count(model: Model) -> int:
    inner = parts(model) if model.architecture == "Sequential" else []
    return len(model.stored) + sum(map(_count, inner))


def _notes(model: Model, plays: Model):
    if plays.rate is None:
        yield f"says no sample rate: {USUAL_RATE} Hz, as NAM takes it"
    if model.version > NEWEST and model.architecture not in PARAMETRIC:
        yield f"format {'.'.join(map(str, model.version))} is newer than the newest known one; read as that"
    if _choices(model):
        yield "plays its largest network; NAM's plug-in begins with the smallest"


def _said(metadata: dict) -> dict:
    return {key: value for key, value in metadata.items() if value is not None}


def _text(value: Any) -> str | None:
    """A text in one line, or None for anything else."""
    text = " ".join(value[: 4 * LONGEST_TEXT].split()) if isinstance(value, str) else ""
    return "".join(filter(str.isprintable, text))[:LONGEST_TEXT] or None


def _number(value: Any) -> float | None:
    good = type(value) in (int, float) and abs(value) < 1e9
    return float(value) if good else None


def _date(value: Any) -> str | None:
    """ISO 8601 of NAM's object of year, month and so on, None where it is no date."""
    keys = ("year", "month", "day", "hour", "minute", "second")
    if not isinstance(value, dict):
        return None
    try:
        year, month, day, hour, minute, second = (value.get(key, 0) for key in keys)
        return datetime(year, month, day, hour, minute, second).isoformat()
    except (TypeError, ValueError, OverflowError):
        return None


# --- writing ---


def write(effect: Effect, metadata: dict[str, Any] | None = None) -> bytes:
    """A `.nam` file that holds an LSTM or a WaveNet; `read` gives back the same network, exactly.

    NAM's LSTM has no dry signal beside it: where ours does, one hidden unit more carries it, quietly, to 1e-7 of its
    peak. NAM settles an LSTM for half a second from the state in the file; `read` takes our own files as they are.
    `metadata` has NAM's keys (`name`, `modeled_by`, `gear_type`, `loudness` ...). Raises ModelFileError for boxes that
    NAM cannot hold, weights that are not finite and metadata that is no JSON.
    """
    ours = {}
    if isinstance(effect, LSTM):
        version, architecture = "0.5.4", "LSTM"
        config, flat = nam_lstm.flatten(effect)
        ours = {"nafx": {"settled": True, "skip": effect.settings.skip}}
    else:
        architecture, (config, flat) = "WaveNet", nam_wavenet.flatten(effect)
        version = "0.5.4" if _plain(config) else "0.6.0"
    if not np.isfinite(flat).all():
        raise ModelFileError("not written: a weight is not a finite number; go back to an earlier checkpoint")
    document = {"version": version, "metadata": metadata, "architecture": architecture, "config": config}
    document |= {"weights": np.asarray(flat, np.float64).tolist()}  # every float32 is a float64
    document |= {} if effect.sample_rate is None else {"sample_rate": effect.sample_rate}
    try:
        return json.dumps(document | ours, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"not written: metadata is no JSON ({error})") from error


def _plain(config: dict) -> bool:
    """Whether files before 0.6.0 could say this WaveNet."""
    known = {"input_size", "condition_size", "head_size", "channels", "kernel_size", "dilations", "activation"}
    known |= {"gated", "head_bias"}
    layers = config["layers"]
    return (
        config.keys() <= {"layers", "head", "head_scale"}
        and config.get("head") is None
        and all(layer.keys() <= known and isinstance(layer["activation"], str) for layer in layers)
    )
