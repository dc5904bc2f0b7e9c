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

from .. import wavenet_config
from ..effect import Chain, Effect, Knob
from ..recurrent import LSTM
from ..wavenet import WaveNet, encoded_size
from . import Facts, ModelFileError, Options, Source, nam_convnet, nam_lstm, nam_wavenet
from .nam_envelope import NEWEST, PARAMETRIC, Model, envelope, parts, submodels
from .nam_knobs import Encoded, inputs_of, read_knobs

USUAL_RATE = 48000  # Hz, of files that do not say it
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


def _concat_lstm(model: Model, options: Options) -> Effect:
    knobs = _knobs(model)
    return Encoded(nam_lstm.read_lstm(model, _rate_of(model, options), options.fast_tanh, inputs_of(knobs)), knobs)


def _knobs(model: Model) -> tuple[Knob, ...]:
    return read_knobs(model.name, model.config.get("params")) if model.architecture in PARAMETRIC else ()


def _wavenet(model: Model, options: Options) -> Effect:
    def nested(name, holder):
        return build(model.inner(holder, "condition_dsp"), replace(options, submodel=None))

    return nam_wavenet.read_wavenet(
        model.name,
        _wavenet_config(model, options),
        model.weights(),
        sample_rate=_rate_of(model, options),
        fast_tanh=options.fast_tanh,
        knobs=_knobs(model),
        submodel=options.submodel,
        read_model=nested,
    )


def _wavenet_config(model: Model, options: Options = Options()) -> dict:
    """The config with what the envelope and the knobs say: the rate that was asked for, the columns of the input."""
    config, condition = dict(model.config), model.config.get("condition_dsp")
    if isinstance(condition, dict) and options.sample_rate and condition.get("sample_rate") == model.rate:
        config["condition_dsp"] = condition | {"sample_rate": options.sample_rate}
    if knobs := _knobs(model):
        config["in_channels"] = 1 + sum(map(encoded_size, knobs))
    return config


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


READERS: dict[str, Callable[[Model, Options], Effect]] = {
    "Linear": lambda model, options: nam_convnet.read_linear(model, _rate_of(model, options)),
    "ConvNet": lambda model, options: nam_convnet.read_convnet(model, _rate_of(model, options), options.fast_tanh),
    "LSTM": lambda model, options: nam_lstm.read_lstm(model, _rate_of(model, options), options.fast_tanh),
    "WaveNet": _wavenet,
    "SlimmableContainer": _container,
    "Sequential": _sequential,
    "ConcatLSTM": _concat_lstm,
    "ConcatWaveNet": _wavenet,
}


# --- facts ---


def tell(model: Model) -> Facts:
    """What a model whose envelope was read says of itself."""
    plays = _default(model)
    said = {**_said(plays.metadata), **_said(model.metadata)}
    training, gear = said.get("training"), (_text(said.get("gear_make")), _text(said.get("gear_model")))
    return Facts(
        architecture=_describe(model),
        sample_rate=plays.rate or USUAL_RATE,
        knobs=tuple(knob.name for knob in _knobs(plays)),
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
    """Kind and size, short. Raises ModelFileError where the config is wrong or wants more or fewer weights."""
    kind = model.architecture
    if kind == "Linear":
        taps, bias = nam_convnet.linear_sizes(model)
        model.count(taps + bias)
        return f"Linear {taps}"
    if kind == "ConvNet":
        channels, dilations, wanted = nam_convnet.convnet_sizes(model)
        model.count(wanted)
        return f"ConvNet {channels}x{len(dilations)}"
    if kind in ("LSTM", "ConcatLSTM"):
        hidden, widths = nam_lstm.sizes(model, sum(map(encoded_size, _knobs(model))))
        model.count(nam_lstm.num_weights(hidden, widths))
        return f"{kind} {len(widths)}x{hidden}"
    if kind == "SlimmableContainer":
        models = [inner for _, inner in submodels(model)]
        return f"{_describe(models[-1])}, largest of {len(models)}"
    if kind == "Sequential":
        return f"Sequential of {', '.join(map(_describe, parts(model)))}"
    config = _wavenet_config(model)
    try:
        model.count(wavenet_config.num_weights(wavenet_config.read(config)) + 1)
    except wavenet_config.ConfigError as error:
        raise model.refuse(str(error)) from error
    return kind.removesuffix("WaveNet") + nam_wavenet.architecture(config)


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
    if not isinstance(effect, LSTM | WaveNet):
        raise ModelFileError(f"not written: NAM has no {type(effect).__name__}; write another format")
    if effect.knobs:
        raise ModelFileError(
            f"not written: NAM has no knobs, this network has {len(effect.knobs)}; write another format"
        )
    ours = {}
    if isinstance(effect, LSTM):
        version, architecture = "0.5.4", "LSTM"
        config, flat = nam_lstm.flatten(effect)
        ours = {"nafx": {"settled": True, "skip": effect.settings.skip, "bias": effect.settings.bias}}
    else:
        architecture, (config, flat) = "WaveNet", nam_wavenet.flatten(effect)
        old = _old_spelling(config)
        version, config = ("0.6.0", config) if old is None else ("0.5.4", old)
    if not np.isfinite(flat).all():
        raise ModelFileError("not written: a weight is not a finite number; go back to an earlier checkpoint")
    document = {"version": version, "metadata": metadata, "architecture": architecture, "config": config}
    document |= {"weights": np.asarray(flat, np.float64).tolist()}  # every float32 is a float64
    document |= {} if effect.sample_rate is None else {"sample_rate": effect.sample_rate}
    try:
        return json.dumps(document | ours, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"not written: metadata is no JSON ({error})") from error


def _old_spelling(config: dict) -> dict | None:
    """A WaveNet's config in the words of 0.5, which every player reads; None where they do not suffice."""
    if config.get("head") or config.get("condition_dsp") or config.get("in_channels", 1) != 1:
        return None
    arrays = []
    for array in config["layers"]:
        old = {key: array.get(key) for key in ("input_size", "condition_size", "channels", "kernel_size", "dilations")}
        old |= {"head_size": array["head"]["out_channels"], "head_bias": array["head"]["bias"]}
        old |= {"activation": array["activation"], "gated": array["gating_mode"] == "gated"}
        arrays.append(old)
    found = {"layers": arrays, "head": None, "head_scale": config["head_scale"]}
    plain = all(isinstance(array["activation"], str) and isinstance(array["kernel_size"], int) for array in arrays)
    return found if plain and wavenet_config.canonical(found) == wavenet_config.canonical(config) else None
