"""What network a PyTorch state dict is, told by its tensors; and the state dict as JSON that RTNeural's tools write.

Read are: recurrent networks, `*.weight_ih_l0` and so on, one after another, and a linear output layer, under whatever
names; and the TCNs of `tcn`. A state dict does not say its rate, nor whether the dry signal is added: networks under
CoreAudioML's names (`rec`, `lin`) add it, others do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..effect import Effect
from ..layers import Spec
from ..tcn import MicroTCN, SteerableTCN
from . import Facts, ModelFileError, Options, Source, keras, shown, tensor
from .guitarml import USUAL_RATE, rate_of, said_rate

Tensors = Mapping[str, np.ndarray]
MOST_TENSORS = 2000
CELL = re.compile(r"(?:(.*)[._])?(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d{1,2})")
COREAUDIOML = re.compile(r"(^|.*\.)(rec|lin)")
GATES = {4: "lstm", 3: "gru"}
REMEDY = "only LSTM and GRU networks with a linear output layer, steerable TCNs and micro-TCNs are read"


def sniff(source: Source) -> bool:
    """Whether a JSON file is a state dict: lists of numbers under the names of tensors, and perhaps single numbers."""
    named = any(re.search(r"(^|[._])(weight|weight_[ih]h_l\d+)$", key) for key in source.keys)
    return named and all(isinstance(value, list | int | float) for value in source.document.values())


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a JSON file. Raises ModelFileError."""
    return build(source, _tensors(source), {}, options)


def facts(source: Source) -> Facts:
    """What the file says of itself. Raises ModelFileError."""
    return tell(source, _tensors(source), {})


def build(source: Source, tensors: Tensors, said: Mapping[str, Any], options: Options) -> Effect:
    """The network of these tensors; `said` is what a checkpoint says beside them. Raises ModelFileError."""
    rate = options.sample_rate or _rate(source, said)
    tensors = _without_wrapper(tensors)
    cls = _tcn(tensors)
    try:
        if cls:
            return cls.from_weights(tensors, **_tcn_settings(cls, tensors, said), sample_rate=rate)
        inputs, specs, skip = _recurrent(tensors)
        return keras.build(source, inputs, specs, rate, skip=skip)
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"{source.name}: {error}; {REMEDY}") from error


def tell(source: Source, tensors: Tensors, said: Mapping[str, Any]) -> Facts:
    """What a file of these tensors says of itself. Raises ModelFileError."""
    tensors = _without_wrapper(tensors)
    rate = said_rate(source.path) or _number(said, "sample_rate", 1000, 10**6)
    notes = [] if rate else [f"its sample rate is not in the file: {_rate(source, said)} Hz is assumed"]
    cls = _tcn(tensors)
    try:
        if cls:
            box = cls.from_weights(tensors, **_tcn_settings(cls, tensors, said))
            s, size = box.settings, sum(array.size for array in box.weights().values())
            name = f"{cls.__name__} {s.width}x{s.blocks} k{s.kernel_size} d{s.dilation_growth}"
            return Facts(name, rate, tuple(knob.name for knob in box.knobs), parameters=size, notes=tuple(notes))
        inputs, specs, skip = _recurrent(tensors)
    except ValueError as error:
        raise ModelFileError(f"{source.name}: {error}; {REMEDY}") from error
    notes.append(f"the dry signal is {'' if skip else 'not '}added, judging by the names of its tensors")
    names = tuple(knob.name for knob in keras.parameters(inputs))
    return Facts(keras.architecture(specs), rate, names, **keras.counted(specs), notes=tuple(notes))


def _tensors(source: Source) -> dict[str, np.ndarray]:
    if len(source.document) > MOST_TENSORS:
        raise ModelFileError(f"{source.name}: {len(source.document)} tensors; at most {MOST_TENSORS} are read")
    return {key: tensor(value, source.name, shown(key)) for key, value in source.document.items()}


def _rate(source: Source, said: Mapping[str, Any]) -> int:
    return said_rate(source.path) or _number(said, "sample_rate", 1000, 10**6) or rate_of(source.path, USUAL_RATE)


def _without_wrapper(tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors without the name of what they were wrapped in (`model.`, `module.`)."""
    shared = re.compile(r"(model|module|net|network|generator)\.")
    found = dict(tensors)
    while found and all(shared.match(name) for name in found):
        found = {name.partition(".")[2]: array for name, array in found.items()}
    return found


# --- TCNs ---


def _tcn(tensors: Tensors) -> type[SteerableTCN] | type[MicroTCN] | None:
    if "blocks.0.conv1.weight" in tensors:
        return MicroTCN
    return SteerableTCN if "blocks.0.conv.weight" in tensors else None


def _tcn_settings(cls, tensors: Tensors, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the tensors do not tell: how dilations grow and whether it is causal. Raises ValueError.

    Modules tell each convolution's dilation; checkpoints the trainer's settings; without either the papers' are taken.
    """
    growth = _number(said, "dilation_growth", 1, 16) or 10
    dilations = said.get("dilations") or {}
    conv = "conv1" if cls is MicroTCN else "conv"
    found = [dilations[name] for n in range(len(tensors)) if (name := f"blocks.{n}.{conv}") in dilations]
    if len(found) > 1:
        growth = found[1]
    if any(dilation != growth**n for n, dilation in enumerate(found)):
        raise ValueError(f"dilations of {shown(', '.join(map(str, found)))} are no powers of one number")
    for key in ("skip_connections", "grouped"):
        if said.get(key) is True:
            raise ValueError(f"{key} = True, a variant that is not read")
    blocks = sum(name.endswith(f"{conv}.weight") for name in tensors)
    stack = _number(said, "stack_size", 1, 1000)
    if stack and stack < blocks:
        raise ValueError(f"stacks of {stack} in {blocks} blocks, a variant that is not read")
    known = [f"blocks.{n}." for n in range(blocks)] + ["gen.", "output."]
    strange = next((name for name in tensors if not name.startswith(tuple(known)) or ".conv1b." in name), None)
    if strange is not None:
        raise ValueError(f"tensor {shown(strange)} belongs to no {cls.__name__}")
    if cls is SteerableTCN:
        return {"dilation_growth": growth}
    return {"dilation_growth": growth, "causal": said.get("causal") is not False}


def _number(said: Mapping[str, Any], key: str, low: int, high: int) -> int | None:
    value: Any = said.get(key)
    return int(value) if type(value) in (int, float) and low <= value <= high and value == int(value) else None


# --- recurrent networks ---


def _recurrent(tensors: Tensors) -> tuple[int, list[Spec], bool]:
    """The inputs, the layers in the order of the file, and whether the dry signal is added. Raises ValueError."""
    cells: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    heads: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        match = CELL.fullmatch(name)
        if match:
            cells.setdefault(match[1] or "", {}).setdefault(int(match[3]), {})[match[2]] = array
        else:
            heads[name] = array
    if not cells:
        raise ValueError(f"tensors {_listed(tensors)} are no network that is known")
    specs = []
    for prefix, layers in cells.items():
        for n in range(len(layers)):
            if n not in layers:
                raise ValueError(f"{prefix or 'the network'} has no layer {n}, but {len(layers)} layers")
            specs.append(_cell(f"{prefix}.*_l{n}", layers[n]))
    weights = [name for name in heads if name.endswith("weight")]
    biases = [name for name in heads if name.endswith("bias")]
    if len(weights) != 1 or len(heads) != len(weights) + len(biases) or len(biases) > 1:
        raise ValueError(f"tensors {_listed(heads)} beside the recurrent layers are no linear output layer")
    head = heads[weights[0]]
    if head.ndim != 2 or head.shape != (1, specs[-1].outputs):
        raise ValueError(f"{shown(weights[0])} has shape {list(head.shape)}, must be [1, {specs[-1].outputs}]")
    linear = {"weight": np.ascontiguousarray(head.T)}
    if biases:
        if heads[biases[0]].shape != (1,):
            raise ValueError(f"{shown(biases[0])} has shape {list(heads[biases[0]].shape)}, must be [1]")
        linear["bias"] = heads[biases[0]]
    width = inputs = len(specs[0].weights["weight_ih"])
    for spec in specs:
        if len(spec.weights["weight_ih"]) != width:
            raise ValueError(
                f"a layer that takes {len(spec.weights['weight_ih'])} inputs follows one that gives {width}"
            )
        width = spec.outputs or 0
    if inputs > keras.MOST_INPUTS:
        raise ValueError(f"{inputs} inputs, at most {keras.MOST_INPUTS} are read")
    skip = all(COREAUDIOML.fullmatch(name) for name in (*cells, weights[0].rpartition(".")[0]))
    return inputs, [*specs, Spec("dense", linear)], skip


def _cell(name: str, tensors: Tensors) -> Spec:
    """A recurrent layer of PyTorch's tensors."""
    if not {"weight_ih", "weight_hh"} <= tensors.keys() or ("bias_ih" in tensors) != ("bias_hh" in tensors):
        raise ValueError(f"{shown(name)} has only {_listed(tensors)}")
    weight_ih, weight_hh = tensors["weight_ih"], tensors["weight_hh"]
    hidden = weight_hh.shape[-1] if weight_hh.ndim == 2 else 0
    gates = len(weight_hh) / hidden if hidden else 0
    if gates not in GATES or weight_ih.ndim != 2 or len(weight_ih) != len(weight_hh) or not weight_ih.shape[1]:
        shapes = f"{list(weight_ih.shape)} and {list(weight_hh.shape)}"
        raise ValueError(f"{shown(name)} has weights of shapes {shapes}: an LSTM has 4 gates, a GRU 3")
    columns = len(weight_hh)
    bias_ih, bias_hh = (tensors.get(key, np.zeros(columns, np.float32)) for key in ("bias_ih", "bias_hh"))
    if bias_ih.shape != (columns,) or bias_hh.shape != (columns,):
        raise ValueError(f"{shown(name)} has biases of shapes {list(bias_ih.shape)} and {list(bias_hh.shape)}")
    with np.errstate(over="ignore"):
        bias = bias_ih + bias_hh
    if not np.isfinite(bias).all():
        raise ValueError(f"{shown(name)} has biases too large for float32")
    weights = {"weight_ih": weight_ih.T, "weight_hh": weight_hh.T, "bias": bias}
    if gates == 3:
        bias[2 * hidden :] = bias_ih[2 * hidden :]
        weights["bias_hn"] = bias_hh[2 * hidden :]
    return Spec("recurrent", weights, {"cell": GATES[int(gates)]})


def _listed(tensors) -> str:
    names = ", ".join(map(shown, list(tensors)[:4])) or "none"
    return names + (", ..." if len(tensors) > 4 else "")
