"""GuitarML's WaveNet JSON: SmartGuitarAmp, SmartGuitarPedal, PedalNetRT, WaveNetVA.

`variables` are the tensors, each with `layer_idx`, `name` and its numbers as text, in the order taps, inputs, outputs,
the last tap the newest. Layer -1 is the linear input layer, the one after the last dilation the linear output layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..pedalnet import GATED, PLAIN, PedalNet
from . import Facts, ModelFileError, Options, Source, shown
from .guitarml import USUAL_RATE, rate_of, said_rate

MOST_LAYERS, WIDEST, LONGEST_KERNEL, LARGEST_DILATION = 64, 256, 64, 2**18
REMEDY = "the file is damaged or was edited; export it again"


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return {"variables", "residual_channels"} <= source.keys


def read(source: Source, options: Options = Options()) -> PedalNet:
    """The network of a file. Raises ModelFileError."""
    settings = _settings(source)
    weights = _weights(source, settings)
    try:
        return PedalNet(settings, weights, sample_rate=options.sample_rate or rate_of(source.path))
    except ValueError as error:
        raise ModelFileError(f"{source.name}: {error}; {REMEDY}") from error


def facts(source: Source) -> Facts:
    """What the file says of itself; its numbers are not looked at. Raises ModelFileError."""
    settings, rate = _settings(source), said_rate(source.path)
    notes = [] if rate else [f"its sample rate is not in the file: {USUAL_RATE} Hz is assumed"]
    if "level_adjust" in source.keys:
        notes.append(f"level_adjust = {shown(source.document['level_adjust'])}, SmartGuitarAmp's trim, is not applied")
    size = sum(math.prod(shape) for shape in PedalNet.shapes(settings).values())
    name = f"WaveNet {settings.width}x{len(settings.dilations)} k{settings.kernel_size} {settings.activation}"
    return Facts(name, rate, parameters=size, notes=tuple(notes))


def _settings(source: Source) -> PedalNet.Settings:
    said, name = source.document, source.name

    def number(key: str, most: int, value: Any = None) -> int:
        value = said.get(key) if value is None else value
        if type(value) is not int or not 1 <= value <= most:
            raise ModelFileError(f"{name}: {key} is {shown(value)}, must be a whole number of 1 to {most}; {REMEDY}")
        return value

    for key in ("input_channels", "output_channels"):
        if key in said and number(key, WIDEST) != 1:
            raise ModelFileError(f"{name}: {key} is {said[key]}; only mono networks without knobs are read")
    activation, dilations = said.get("activation", "gated"), said.get("dilations")
    if not isinstance(activation, str) or activation not in (*GATED, *PLAIN):
        allowed = ", ".join((*GATED, *PLAIN))
        raise ModelFileError(f"{name}: activation is {shown(activation)}; these are read: {allowed}")
    if not isinstance(dilations, list) or not 1 <= len(dilations) <= MOST_LAYERS:
        raise ModelFileError(f"{name}: dilations is {shown(dilations)}, must be a list of 1 to {MOST_LAYERS}; {REMEDY}")
    steps = tuple(number("dilations", LARGEST_DILATION, step if step is not None else 0) for step in dilations)
    width, taps = number("residual_channels", WIDEST), number("filter_width", LONGEST_KERNEL)
    return PedalNet.Settings(steps, width, taps, activation)


def _weights(source: Source, settings: PedalNet.Settings) -> dict[str, np.ndarray]:
    """The variables under the names and in the layouts of `PedalNet`."""
    name, variables = source.name, source.document["variables"]
    if not isinstance(variables, list):
        raise ModelFileError(f"{name}: variables is {shown(variables)}, must be a list; {REMEDY}")
    shapes, weights = PedalNet.shapes(settings), {}
    for variable in variables:
        if not isinstance(variable, dict):
            raise ModelFileError(f"{name}: a variable is {shown(variable)}, must be an object; {REMEDY}")
        ours = _ours(variable.get("layer_idx"), variable.get("name"), len(settings.dilations))
        if ours is None or ours in weights:
            what = f"layer_idx {shown(variable.get('layer_idx'))}, name {shown(variable.get('name'))}"
            raise ModelFileError(f"{name}: variable of {what}: {'twice' if ours else 'not known'}; {REMEDY}")
        numbers = _numbers(variable.get("data"), f"{name}: {ours}")
        shape = shapes[ours]
        if len(numbers) != math.prod(shape):
            raise ModelFileError(f"{name}: {ours} has {len(numbers)} numbers, must be {math.prod(shape)}; {REMEDY}")
        if len(shape) == 1:
            weights[ours] = numbers
        else:  # taps, inputs, outputs -> outputs, inputs[, taps]
            weights[ours] = numbers.reshape(*shape[2:], shape[1], shape[0]).T
    return weights


def _ours(layer: Any, name: Any, layers: int) -> str | None:
    """The name in `PedalNet` of a variable, None where there is none."""
    if type(layer) is not int or not isinstance(name, str):
        return None
    if layer in (-1, layers):
        part = {"W": "weight", "b": "bias"}.get(name)
        return part and f"{'input' if layer < 0 else 'output'}.{part}"
    part = {"W_conv": "conv.weight", "b_conv": "conv.bias", "W_out": "mix.weight", "b_out": "mix.bias"}.get(name)
    return f"{layer}.{part}" if part and 0 <= layer < layers else None


def _numbers(data: Any, what: str) -> np.ndarray:
    """Numbers, mostly written as text, as float32."""
    if not isinstance(data, list):
        raise ModelFileError(f"{what}: data is {shown(data)}, must be a list; {REMEDY}")
    made = np.empty(len(data), np.float64)
    for i, item in enumerate(data):
        good = type(item) in (int, float) or (isinstance(item, str) and len(item) <= 60)
        try:
            made[i] = float(item) if good else math.nan
        except (ValueError, OverflowError):
            made[i] = math.nan
    with np.errstate(over="ignore"):
        made = made.astype(np.float32)
    if not np.isfinite(made).all():
        wrong = data[int(np.flatnonzero(~np.isfinite(made))[0])]
        raise ModelFileError(f"{what} holds {shown(wrong)}, which is no number of float32; {REMEDY}")
    return made
