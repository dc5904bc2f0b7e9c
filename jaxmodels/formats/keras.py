"""RTNeural's Keras JSON: a list of layers with their weights, from which any stack can be built.

Layouts: dense `[I, O]`; conv1d `[K, I / groups, O]`, the last tap the present sample; lstm `[I, 4H]`, `[H, 4H]`,
`[4H]`, gates i, f, c, o; gru `[I, 3H]`, `[H, 3H]`, `[2, 3H]`, or `[3H]` where the reset gate comes before the product,
gates z, r, c. The weights decide; a `shape` that says something else is refused. There is no sample rate in the file.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from ..effect import Effect, Knob
from ..layers import Layers, Spec, described
from ..recurrent import GRU, LSTM, Settings, from_torch
from . import Facts, ModelFileError, Options, Source, shown, tensor
from .guitarml import rate_of, said_rate

USUAL_RATE = 48000  # Hz, of nearly all captures that are played with RTNeural
MOST_LAYERS, MOST_INPUTS = 64, 16
ACTIVATIONS = ("tanh", "relu", "sigmoid", "softmax", "elu", "softplus", "softsign", "linear", "")
REMEDY = "export the model again"


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a file: an LSTM or GRU where it is that and an output layer, a stack of layers otherwise.

    Inputs beyond the audio become knobs PARAM1, PARAM2 and so on, 0 to 1. Raises ModelFileError.
    """
    inputs, specs = parse(source)
    return build(source, inputs, specs, options.sample_rate or rate_of(source.path, USUAL_RATE))


def facts(source: Source) -> Facts:
    """What the file says of itself. Raises ModelFileError."""
    inputs, specs = parse(source)
    rate = said_rate(source.path)
    notes = () if rate else (f"its sample rate is not in the file: {USUAL_RATE} Hz is assumed",)
    names = tuple(knob.name for knob in parameters(inputs))
    return Facts(architecture(specs), rate, names, **counted(specs), notes=notes)


def counted(specs: list[Spec]) -> dict[str, Any]:
    """How many numbers the layers hold, as a keyword of Facts."""
    return {"parameters": sum(spec.size for spec in specs)}


def architecture(specs: list[Spec]) -> str:
    """`LSTM 1x16`, or the layers one by one."""
    if plain(specs):
        return f"{specs[0].options['cell'].upper()} {len(specs) - 1}x{specs[0].outputs}"
    return ", ".join(described(spec) for spec in specs)


def parameters(inputs: int) -> tuple[Knob, ...]:
    """A knob for each input beyond the audio, named as AIDA-X does; the network is given its value as it is."""
    return tuple(Knob(f"PARAM{n}") for n in range(1, inputs))


def parse(source: Source) -> tuple[int, list[Spec]]:
    """The inputs and the layers of a file, everything checked. Raises ModelFileError."""
    name, document = source.name, source.document
    layers, shape = document["layers"], document["in_shape"]
    if not isinstance(layers, list) or not layers:
        raise ModelFileError(f"{name}: layers is {shown(layers)}, so there is no network in this file; {REMEDY}")
    if len(layers) > MOST_LAYERS:
        raise ModelFileError(f"{name}: {len(layers)} layers; at most {MOST_LAYERS} are read")
    inputs = _last(shape)
    if inputs is None or not 1 <= inputs <= MOST_INPUTS:
        expected = f"must be a list that ends in 1 to {MOST_INPUTS} inputs (audio and knobs)"
        raise ModelFileError(f"{name}: in_shape is {shape if inputs else shown(shape)}, {expected}; {REMEDY}")
    specs, width = [], inputs
    for n, layer in enumerate(layers):
        made = _layer(name, n, layer, width)
        specs += made
        width = next((spec.outputs for spec in made if spec.outputs), width)
        declared = _last(layer.get("shape"))
        if declared is not None and declared != width:
            where = f"layer {n} ({layer['type']})"
            raise ModelFileError(f"{name}: {where}: shape says {declared} outputs, its weights {width}; {REMEDY}")
    if not specs:
        raise ModelFileError(f"{name}: layers that do nothing, so there is no network in this file; {REMEDY}")
    if width != 1:
        raise ModelFileError(f"{name}: the last layer has {width} outputs; a mono effect has 1")
    return inputs, specs


def build(source: Source, inputs: int, specs: list[Spec], rate: int | None, *, skip: bool = False) -> Effect:
    """The network of these layers. Raises ModelFileError."""
    knobs = parameters(inputs)
    try:
        if plain(specs) and _fits(inputs, specs[:-1]):
            return recurrent(specs, skip=skip, knobs=knobs, sample_rate=rate)
        return Layers(specs, skip=skip, knobs=knobs, sample_rate=rate)
    except ValueError as error:
        raise ModelFileError(f"{source.name}: {error}; {REMEDY}") from error


def write(effect: LSTM | GRU) -> dict[str, Any]:
    """The JSON object of a network without dry signal; `read` gives back the same weights, exactly."""
    cell, layers = ("lstm" if isinstance(effect, LSTM) else "gru"), []
    for layer in effect.layers:
        tensors = {key: np.asarray(leaf[...]) for key, leaf in layer.items() if leaf is not None}
        bias = tensors["bias"]
        if "bias_hn" in tensors:
            second = np.zeros_like(bias)
            second[-len(tensors["bias_hn"]) :] = tensors["bias_hn"]
            bias = np.stack([bias, second])
        weights = [tensors["weight_ih"], tensors["weight_hh"], bias]
        if cell == "gru":
            weights = [_gates_as_torch(array) for array in weights]  # swapping two blocks is its own inverse
        layers.append(_written(cell, effect.settings.hidden, weights, "tanh"))
    head = [effect.head, *([] if effect.head_bias is None else [effect.head_bias])]
    layers.append(_written("dense", 1, [np.asarray(leaf[...]) for leaf in head], ""))
    return {"in_shape": [None, None, effect.settings.inputs], "layers": layers}


def _written(kind: str, outputs: int, weights: list[np.ndarray], activation: str) -> dict[str, Any]:
    numbers = [array.tolist() for array in weights]
    return {"type": kind, "activation": activation, "shape": [None, None, outputs], "weights": numbers}


def plain(specs: list[Spec]) -> bool:
    """Whether the layers are one or more LSTMs, or GRUs, of equal size and a linear output of 1."""
    *cells, last = specs
    kinds = {(spec.kind, spec.options.get("cell"), "bias_hn" in spec.weights) for spec in cells}
    if kinds not in ({("recurrent", "lstm", False)}, {("recurrent", "gru", True)}) or last.kind != "dense":
        return False
    return len({spec.outputs for spec in cells}) == 1 and last.outputs == 1


def recurrent(specs: list[Spec], *, skip: bool, knobs: tuple[Knob, ...], sample_rate: int | None):
    """`plain` layers as one `recurrent.LSTM` or `GRU`. Raises ValueError."""
    tensors = {}
    *cells, last = specs
    for n, spec in enumerate(cells):
        w = spec.weights
        second = np.zeros_like(w["bias"])
        if "bias_hn" in w:
            second[-len(w["bias_hn"]) :] = w["bias_hn"]
        tensors |= {f"weight_ih_l{n}": w["weight_ih"].T, f"weight_hh_l{n}": w["weight_hh"].T}
        tensors |= {f"bias_ih_l{n}": w["bias"], f"bias_hh_l{n}": second}
    head, bias = last.weights["weight"], last.weights.get("bias")
    return from_torch(tensors, head.T, bias, skip=skip, knobs=knobs, sample_rate=sample_rate)


def _fits(inputs: int, cells: list[Spec]) -> bool:
    """Whether the recurrent networks take so many inputs, units and layers."""
    limits = {field.name: field.metadata.get("high", 1) for field in fields(Settings)}
    sizes = {"inputs": inputs, "hidden": cells[0].outputs or 0, "layers": len(cells)}
    return all(size <= limits[key] for key, size in sizes.items())


def _layer(name: str, n: int, layer: Any, width: int) -> list[Spec]:
    """One layer of the file, and its activation, as layers of ours; `width` is what it is given."""
    if not isinstance(layer, dict):
        raise ModelFileError(f"{name}: layer {n} is {shown(layer)}, must be an object; {REMEDY}")
    kind, activation = layer.get("type"), layer.get("activation", "")
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ModelFileError(f"{name}: layer {n} is {shown(kind)}, which is not read; these are: {known}")
    where = f"layer {n} ({kind})"
    tensors = layer.get("weights", [])
    if not isinstance(tensors, list):
        raise ModelFileError(f"{name}: {where}: weights is {shown(tensors)}, must be a list; {REMEDY}")
    if len(tensors) > 4:
        raise ModelFileError(f"{name}: {where}: {len(tensors)} tensors, at most 4 belong to a layer; {REMEDY}")
    arrays = [tensor(value, name, f"{where} weights[{i}]") for i, value in enumerate(tensors)]
    try:
        spec = _KINDS[kind](layer, arrays, width)
    except ValueError as error:
        raise ModelFileError(f"{name}: {where}: {error}; {REMEDY}") from error
    if kind in ("lstm", "gru"):
        return [spec]  # their field `activation` is the cell's own, which is always tanh
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        allowed = ", ".join(filter(None, ACTIVATIONS))
        raise ModelFileError(f"{name}: {where}: activation {shown(activation)} is not read; these are: {allowed}")
    after = None if activation in ("", "linear") else Spec("activation", {}, {"name": activation})
    return [made for made in (spec, after) if made]


def _dense(layer, arrays, width):
    _shapes(arrays, (width, None), (None,), least=1)
    if len(arrays) > 1 and len(arrays[1]) != arrays[0].shape[1]:
        raise ValueError(f"a bias of {len(arrays[1])} for {arrays[0].shape[1]} outputs")
    return Spec("dense", dict(zip(("weight", "bias"), arrays, strict=False)))


def _conv1d(layer, arrays, width):
    dilation, groups = _number(layer, "dilation", 2**20), _number(layer, "groups", width)
    if _number(layer, "strides", 2**20) != 1:
        raise ValueError("strides other than 1: it gives fewer samples than it takes, so it is no effect")
    if width % groups:
        raise ValueError(f"{groups} groups cannot share {width} inputs")
    _shapes(arrays, (None, width // groups, None), (None,), least=1)
    taps, _, outputs = arrays[0].shape
    if outputs % groups or (len(arrays) > 1 and len(arrays[1]) != outputs):
        raise ValueError(f"{outputs} outputs, {groups} groups and {[len(b) for b in arrays[1:]]} biases do not fit")
    if "kernel_size" in layer and _number(layer, "kernel_size", 2**20) != taps:
        raise ValueError(f"kernel_size is {shown(layer['kernel_size'])}, but the weights have {taps} taps")
    weights: dict[str, np.ndarray] = {"weight": arrays[0].transpose(2, 1, 0)}
    if len(arrays) > 1:
        weights["bias"] = arrays[1]
    return Spec("conv1d", weights, {"dilation": dilation, "groups": groups})


def _lstm(layer, arrays, width):
    hidden = _hidden(arrays, 4, width, (None,))
    if len(arrays[2]) != 4 * hidden:
        raise ValueError(f"a bias of {len(arrays[2])} for {hidden} units, must be {4 * hidden}")
    names = ("weight_ih", "weight_hh", "bias")
    return Spec("recurrent", dict(zip(names, arrays, strict=True)), {"cell": "lstm"})


def _gru(layer, arrays, width):
    both = len(arrays) == 3 and arrays[2].ndim == 2
    hidden = _hidden(arrays, 3, width, (2, None) if both else (None,))
    if arrays[2].shape[-1] != 3 * hidden:
        raise ValueError(f"a bias of {arrays[2].shape[-1]} for {hidden} units, must be {3 * hidden}")
    weight_ih, weight_hh, bias = (_gates_as_torch(array) for array in arrays)
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    if both:
        with np.errstate(over="ignore"):
            summed = bias[0] + bias[1]
        if not np.isfinite(summed).all():
            raise ValueError("biases too large for float32")
        joined = np.concatenate([summed[: 2 * hidden], bias[0, 2 * hidden :]])
        weights |= {"bias": joined, "bias_hn": bias[1, 2 * hidden :]}
    return Spec("recurrent", weights, {"cell": "gru"})


def _batchnorm(layer, arrays, width):
    _shapes(arrays, *[(width,)] * 4, least=2)
    if len(arrays) == 3:
        raise ValueError("3 tensors, must be mean and variance, or gamma, beta, mean and variance")
    epsilon = layer.get("epsilon", 1e-3)
    if type(epsilon) not in (int, float) or not 0 <= epsilon <= 1e6:
        raise ValueError(f"epsilon is {shown(epsilon)}, must be 0 to 1e6")
    mean, variance = (array.astype(np.float64) for array in arrays[-2:])
    gamma, beta = arrays[:2] if len(arrays) == 4 else (1.0, 0.0)
    if not (variance + epsilon > 0).all():
        raise ValueError("a variance that is not positive")
    scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - scale * mean
    if not np.isfinite([scale, shift]).all() or np.abs([scale, shift]).max() > np.finfo(np.float32).max:
        raise ValueError("a normalisation too large for float32")
    return Spec("batchnorm", {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)})


def _prelu(layer, arrays, width):
    if len(arrays) != 1 or arrays[0].size not in (1, width):
        raise ValueError(f"slopes of shapes {[list(a.shape) for a in arrays]}, must be one tensor of 1 or {width}")
    return Spec("prelu", {"slope": arrays[0].reshape(-1)})


def _activation(layer, arrays, width):
    _shapes(arrays)


_KINDS = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "conv1d": _conv1d,
    "lstm": _lstm,
    "gru": _gru,
    "batchnorm": _batchnorm,
    "prelu": _prelu,
    "activation": _activation,
}


def _gates_as_torch(array: np.ndarray) -> np.ndarray:
    """Columns z, r, n as r, z, n."""
    z, r, n = np.split(array, 3, axis=-1)
    return np.concatenate([r, z, n], axis=-1)


def _hidden(arrays, gates, width, bias):
    """The units of a recurrent layer, by its weights."""
    _shapes(arrays, (width, None), (None, None), bias, least=3)
    hidden = len(arrays[1])
    for array in arrays[:2]:
        if array.shape[1] != gates * hidden:
            got = [list(a.shape) for a in arrays]
            raise ValueError(f"weights of shapes {got} do not fit {hidden} units and {gates} gates")
    return hidden


def _shapes(arrays, *expected, least=0):
    """Raise ValueError unless there are tensors of these shapes, `None` fitting every size but zero."""
    got = [list(array.shape) for array in arrays]
    fits = least <= len(arrays) <= len(expected)
    if not fits or not all(_like(shape, want) for shape, want in zip(got, expected, strict=False)):
        wanted = " ".join(str(["any" if size is None else size for size in want]) for want in expected).replace("'", "")
        raise ValueError(f"tensors of shapes {got or 'none'}, must be {wanted or 'none'}")


def _like(shape, want):
    each = zip(shape, want, strict=False)
    return len(shape) == len(want) and all(size == wanted or (wanted is None and size) for size, wanted in each)


def _number(layer, field, most):
    """A whole number of a layer, plain or in a list of one; 1 where there is none."""
    value = layer.get(field, 1)
    number = value[0] if isinstance(value, list) and len(value) == 1 else value
    if type(number) is not int or not 1 <= number <= most:
        raise ValueError(f"{field} is {shown(value)}, must be 1 to {most}")
    return number


def _last(shape: Any) -> int | None:
    """The last size of a declared shape, or None where it declares none."""
    size = shape[-1] if isinstance(shape, list) and shape else None
    return size if type(size) is int else None


def _outputs(spec: Spec) -> int | None:
    """How many channels a layer gives, None where it is as many as it takes."""
    if spec.kind == "dense":
        return _weight(spec, "weight").shape[1]
    if spec.kind == "conv1d":
        return len(_weight(spec, "weight"))
    return len(_weight(spec, "weight_hh")) if spec.kind == "recurrent" else None


def _weight(spec: Spec, name: str) -> np.ndarray:
    return np.asarray(spec.weights[name])
