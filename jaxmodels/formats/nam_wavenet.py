"""NAM's WaveNet: the `config` and the flat weights of a `.nam` file, to our box and back.

The envelope around them (versions, rates, metadata, containers) is read by `nam`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .. import wavenet_config, wavenet_plan
from ..activations import Activation
from ..effect import Effect, Knob
from ..wavenet import Settings, WaveNet
from ..wavenet_config import ConfigError
from ..wavenet_plan import LayerArray, Plan
from . import ModelFileError, shown, tensor

ReadModel = Callable[[str, dict], Effect]
REMEDY = "the file is damaged or was edited; export it again"
METHOD = "slice_channels_uniform"


def read_wavenet(
    name: str,
    config: dict,
    weights: np.ndarray,
    *,
    sample_rate: int | None,
    fast_tanh: bool = False,
    knobs: tuple[Knob, ...] = (),
    submodel: int | None = None,
    read_model: ReadModel | None = None,
    outputs: int = 1,
) -> WaveNet:
    """The network that a `config` and its flat float32 weights describe.

    name         the file's, for error messages
    fast_tanh    play NAM's approximation instead of every Tanh
    knobs        of the parametric fork's ConcatWaveNet: further columns of input and condition (see `wavenet.encode`)
    submodel     which width of a slimmable network, from 0 (see `widths`); the largest where None
    read_model   reads a nested condition network that is no WaveNet: `(name, the nested .nam object) -> mono Effect`
    outputs      channels that it must have: 1, unless it is the condition of another network

    Raises ModelFileError where a field is wrong, or the weights are not exactly as many as the config wants.
    """
    try:
        plan = wavenet_config.read(config)
        allowed = _allowed(config, plan)
        _counted(plan, weights)
        if any(allowed):
            plan, weights = _slim(plan, weights, allowed, submodel)
        elif submodel not in (None, 0):
            raise ConfigError(f"submodel {submodel} of a network that has one width")
        if plan.outputs != outputs:
            raise ConfigError(f"{plan.outputs} channels come out, must be {outputs}")
        condition = _condition(name, config, sample_rate, fast_tanh, knobs, read_model, plan)
        if isinstance(condition, WaveNet):
            described = {"architecture": "WaveNet", "config": json.loads(condition.settings.config)}
            plan = replace(plan, condition=json.dumps(described, sort_keys=True))
        if fast_tanh:
            plan = _with_fast_tanh(plan)
        settings = Settings(json.dumps(wavenet_config.write(plan), sort_keys=True))
        return WaveNet(settings, knobs=knobs, sample_rate=sample_rate, weights=weights, condition=condition)
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}; {REMEDY}") from error


def architecture(config: dict) -> str:
    """A short description such as "WaveNet 16x10 + 8x10" (channels x layers); "WaveNet" where the config is broken."""
    try:
        plan = wavenet_config.read(config)
    except ConfigError:
        return "WaveNet"
    return "WaveNet " + " + ".join(f"{array.channels}x{len(array.layers)}" for array in plan.arrays)


def widths(config: dict) -> tuple[str, ...]:
    """The widths of a slimmable network, smallest first ("3 channels"); empty for any other, and for a broken one."""
    try:
        plan = wavenet_config.read(config)
        allowed = _allowed(config, plan)
    except ConfigError:
        return ()
    count = max(map(len, allowed))
    chosen = [_chosen(plan, allowed, n) for n in range(count)]
    return tuple(f"{' + '.join(map(str, channels))} channels" for channels in chosen)


def flatten(effect: Effect) -> tuple[dict, np.ndarray]:
    """The `config` and the flat float32 weights of one of our WaveNets: what `read_wavenet` takes, exactly.

    Raises ModelFileError for any other box, and for a network whose condition is made by one.
    """
    if not isinstance(effect, WaveNet):
        raise ModelFileError(f"a {type(effect).__name__} cannot be written as a WaveNet")
    config, nested = json.loads(effect.settings.config), effect.condition
    weights = np.append(np.asarray(effect.weights[...]), np.asarray(effect.head_scale[...])).astype(np.float32)
    config["head_scale"] = float(weights[-1])
    if nested is not None:
        inner, flat = flatten(nested)
        rate = {} if nested.sample_rate is None else {"sample_rate": nested.sample_rate}
        document = {"version": "0.7.0", "architecture": "WaveNet", "config": inner, "weights": flat.tolist()}
        config["condition_dsp"] = document | rate
    return config, weights


def _counted(plan: Plan, weights: np.ndarray) -> None:
    wanted = wavenet_plan.num_weights(plan) + 1
    if np.shape(weights) != (wanted,):
        raise ConfigError(f"{np.size(weights)} weights, but its config wants {wanted}")


def _condition(name, config, sample_rate, fast_tanh, knobs, read_model, plan) -> Effect | None:
    """The nested network, or None."""
    document = config.get("condition_dsp")
    if document is None:
        return None
    rate = document.get("sample_rate")
    if rate is not None and sample_rate is not None and rate != sample_rate:
        raise ConfigError(f"condition_dsp.sample_rate is {shown(rate)}, must be {sample_rate}, as the network's own")
    if document["architecture"] != "WaveNet":
        if read_model is None:
            raise ConfigError(f"a condition_dsp of kind {shown(document['architecture'])} is not read")
        return read_model(f"{name}: condition_dsp", document)
    weights = tensor(document.get("weights"), name, "condition_dsp.weights")
    return read_wavenet(
        f"{name}: condition_dsp",
        document["config"],
        weights,
        sample_rate=sample_rate,
        fast_tanh=fast_tanh,
        knobs=knobs,
        read_model=read_model,
        outputs=plan.arrays[0].condition_size,
    )


def _with_fast_tanh(plan: Plan) -> Plan:
    def fast(activation):
        return Activation("Fasttanh") if activation == Activation("Tanh") else activation

    def faster(layer):
        return replace(layer, activation=fast(layer.activation), secondary=fast(layer.secondary))

    arrays = tuple(replace(array, layers=tuple(map(faster, array.layers))) for array in plan.arrays)
    return replace(plan, arrays=arrays, head_activation=fast(plan.head_activation))


# --- slimmable networks ---


def _allowed(config: dict, plan: Plan) -> list[tuple[int, ...]]:
    """The channel counts that each array may be cut to; empty where it stays as it is. Raises ConfigError."""
    found = []
    for i, (fields, array) in enumerate(zip(config["layers"], plan.arrays, strict=True)):
        slimmable, where = fields.get("slimmable"), f"layers[{i}].slimmable"
        if slimmable in (None, False):
            found.append(())
            continue
        if not isinstance(slimmable, dict) or slimmable.get("method") != METHOD:
            raise ConfigError(f"{where} is {shown(slimmable)}, must be an object of the method {METHOD}")
        kwargs: Any = slimmable.get("kwargs")
        counts = kwargs.get("allowed_channels") if isinstance(kwargs, dict) else None
        if counts is None:
            counts = list(range(1, array.channels + 1)) if array.channels <= 1024 else [array.channels]
        good = isinstance(counts, list) and counts and all(type(count) is int and count > 0 for count in counts)
        if not good or counts != sorted(set(counts)) or counts[-1] != array.channels:
            raise ConfigError(f"{where}: allowed_channels must rise to the array's own {array.channels}")
        found.append(tuple(counts))
    return found


def _chosen(plan: Plan, allowed, submodel: int) -> list[int]:
    """Channels of each array at one of its sizes."""
    size = (submodel + 0.5) / max(map(len, allowed))
    every = zip(plan.arrays, allowed, strict=True)
    return [counts[min(int(size * len(counts)), len(counts) - 1)] if counts else a.channels for a, counts in every]


def _slim(plan: Plan, weights: np.ndarray, allowed, submodel: int | None) -> tuple[Plan, np.ndarray]:
    """One width of a slimmable network: the first rows and columns of every tensor."""
    count = max(map(len, allowed))
    submodel = count - 1 if submodel is None else submodel
    if not 0 <= submodel < count:
        raise ConfigError(f"submodel {submodel} of {count}: must be 0 to {count - 1}")
    channels = _chosen(plan, allowed, submodel)
    if channels == [array.channels for array in plan.arrays]:
        return plan, weights
    for i, array in enumerate(plan.arrays):
        _sliceable(array, f"layers[{i}]")
    if plan.head:
        raise ConfigError("a slimmable network with a head behind the stack is not read")
    arrays = []
    for i, array in enumerate(plan.arrays):
        before = channels[i - 1] if i else array.input_size
        after = channels[i + 1] if i + 1 < len(channels) else array.head.out_channels
        arrays.append(wavenet_plan.slimmed(array, channels[i], before, after))
        if i and arrays[-2].head.out_channels != arrays[-1].skip:
            raise ConfigError(f"layers[{i}] cannot be cut to {channels[i]} channels: its skip path would not fit")
    thin, kept, at = replace(plan, arrays=tuple(arrays)), [], 0
    for full, part in zip(wavenet_plan.tensors(plan), wavenet_plan.tensors(thin), strict=True):
        size = math.prod(full.shape)
        kept.append(weights[at : at + size].reshape(full.shape)[tuple(map(slice, part.shape))].ravel())
        at += size
    return thin, np.concatenate([*kept, weights[-1:]])


def _sliceable(array: LayerArray, where: str) -> None:
    parts = [part for part in (array.layer1x1, array.head1x1, *array.films) if part]
    if max(array.groups_input, array.groups_input_mixin, *(part.groups for part in parts), 1) > 1:
        raise ConfigError(f"{where} is slimmable and has groups, which is not read")
    if array.head.kernel_size > 1:
        raise ConfigError(f"{where} is slimmable and its head has a kernel, which is not read")
