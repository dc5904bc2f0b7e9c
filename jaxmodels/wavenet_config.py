"""NAM's description of a WaveNet, the `config` of a `.nam` file, read into a `Plan` and written again.

All spellings are read, old ones too (NeuralAmpModelerCore, wavenet/model.cpp); the newest is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .activations import Activation
from .wavenet_plan import FILMS, Conv, Film, Layer, LayerArray, Plan, Pointwise, film_width, inner_width, lines
from .wavenet_plan import num_weights as num_weights

OLD_KEYS = {"head_1x1": "head1x1", "1x1": "layer1x1"}
LARGEST = 1 << 20  # of any one number in a config
MOST_LAYERS = 256  # of a network, nested ones apart
LONGEST_KERNEL = 512  # taps
MOST_PAST = 1 << 24  # numbers that a network may have to remember, 64 MiB


class ConfigError(ValueError):
    """A field of a config that is missing or wrong; the text names it, its value and what is allowed."""


@lru_cache(64)
def plan(text: str) -> Plan:
    """The plan of a config in JSON. Raises ConfigError."""
    try:
        return read(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"config is no JSON: {error}") from error


def read(config: Any) -> Plan:
    """The plan of a `config`; weights, `head_scale` and unknown keys are not looked at. Raises ConfigError."""
    config = _Fields(config, "config")
    in_channels = config.whole("in_channels", 1)
    condition, conditions = _condition(config.get("condition_dsp"), in_channels)
    arrays = config.get("layers")
    if not isinstance(arrays, list) or not 1 <= len(arrays) <= MOST_LAYERS:
        raise ConfigError(f"layers is {_shown(arrays)}, must be a list of 1 to {MOST_LAYERS} layer arrays")
    found = tuple(_array(_Fields(array, f"layers[{i}]")) for i, array in enumerate(arrays))
    if sum(len(array.layers) for array in found) > MOST_LAYERS:
        raise ConfigError(f"more than {MOST_LAYERS} layers, which no capture has")
    width, head_width = in_channels, None
    for i, array in enumerate(found):
        _equal(f"layers[{i}].input_size", array.input_size, width, "the channels that come in")
        _equal(f"layers[{i}].condition_size", array.condition_size, conditions, "the channels of the condition")
        if head_width is not None:
            _equal(f"layers[{i}]: the width of its skip path", array.skip, head_width, "the head before it")
        width, head_width = array.channels, array.head.out_channels
    head, activation = _head(config.get("head"), found[-1].head.out_channels)
    made = Plan(in_channels, found, head, activation, condition)
    past = sum(line.width * line.lookback for line in lines(made))
    if past > MOST_PAST:
        raise ConfigError(f"it would have to remember {_shown(past)} numbers, at most {MOST_PAST}")
    return made


def write(plan: Plan) -> dict[str, Any]:
    """The `config` of a plan, in the newest spelling: `read(write(plan)) == plan`. Lacks `head_scale`."""
    config: dict[str, Any] = {"in_channels": plan.in_channels, "layers": [_written(array) for array in plan.arrays]}
    config["head"] = None
    if plan.head and plan.head_activation:
        config["head"] = {
            "channels": plan.head[0].out_channels,
            "out_channels": plan.outputs,
            "kernel_sizes": [conv.kernel_size for conv in plan.head],
            "activation": plan.head_activation.written(),
        }
    if plan.condition:
        config["condition_dsp"] = json.loads(plan.condition)
    return config


def canonical(config: Any) -> str:
    """One text for all spellings of an architecture. Raises ConfigError."""
    return json.dumps(write(read(config)), sort_keys=True)


class _Fields:
    """The fields of a JSON object, each looked at as it is taken."""

    def __init__(self, value: Any, where: str):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {_shown(value)}, must be an object")
        self.value, self.where = value, where

    def get(self, key: str, default: Any = None) -> Any:
        return self.value.get(key, default)

    def name(self, key: str) -> str:
        return key if self.where == "config" else f"{self.where}.{key}"

    def whole(self, key: str, default: int | None = None, low: int = 1, high: int = LARGEST) -> int:
        return _whole(self._taken(key, default), self.name(key), low, high)

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._taken(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.name(key)} is {_shown(value)}, must be true or false")
        return value

    def child(self, key: str) -> _Fields | None:
        """The object under a key, or None where it is absent, null, or an object of which `active` is false."""
        value = self.get(key)
        if value is None or value is False:
            return None
        child = _Fields({} if value is True else value, self.name(key))
        return child if child.flag("active", True) else None

    def each(self, key: str, count: int, one: Callable[[Any, str], Any], default: Any = None) -> tuple:
        """One value for all of `count` layers, or a list of one for each."""
        value = self.get(key, default)
        if not isinstance(value, list):
            return (one(value, self.name(key)),) * count
        if len(value) != count:
            raise ConfigError(f"{self.name(key)} is a list of {len(value)} for {count} layers")
        return tuple(one(item, f"{self.name(key)}[{i}]") for i, item in enumerate(value))

    def _taken(self, key, default):
        if default is None and key not in self.value:
            raise ConfigError(f"{self.name(key)} is missing")
        return self.value.get(key, default)


def _array(fields: _Fields) -> LayerArray:
    fields.value = {OLD_KEYS.get(key, key): value for key, value in fields.value.items()}
    channels = fields.whole("channels")
    bottleneck = fields.whole("bottleneck", channels)
    dilations = fields.get("dilations")
    if not isinstance(dilations, list) or not 1 <= len(dilations) <= MOST_LAYERS:
        raise ConfigError(f"{fields.name('dilations')} is {_shown(dilations)}, must be a list of 1 to {MOST_LAYERS}")
    dilations = tuple(_whole(d, f"{fields.name('dilations')}[{i}]") for i, d in enumerate(dilations))
    first = fields.child("layer1x1")
    layer1x1 = Pointwise(channels, first.whole("groups", 1)) if first else None
    if fields.get("layer1x1") is None:
        layer1x1 = Pointwise(channels)
    second = fields.child("head1x1")
    head1x1 = Pointwise(second.whole("out_channels", channels), second.whole("groups", 1)) if second else None
    array = LayerArray(
        fields.whole("input_size"),
        fields.whole("condition_size"),
        channels,
        bottleneck,
        dilations,
        _layers(fields, len(dilations), bottleneck),
        _head_of_array(fields),
        fields.whole("groups_input", 1),
        fields.whole("groups_input_mixin", 1),
        layer1x1,
        head1x1,
        tuple(_film(fields.child(name)) for name in FILMS),
    )
    _check(array, fields)
    return array


def _layers(fields: _Fields, count: int, bottleneck: int) -> tuple[Layer, ...]:
    if ("kernel_size" in fields.value) == ("kernel_sizes" in fields.value):
        raise ConfigError(f"{fields.where} must have either kernel_size or kernel_sizes")
    key = "kernel_size" if "kernel_size" in fields.value else "kernel_sizes"
    if key == "kernel_sizes" and not isinstance(fields.get(key), list):
        raise ConfigError(f"{fields.name(key)} is {_shown(fields.get(key))}, must be a list")
    kernels = fields.each(key, count, lambda value, name: _whole(value, name, 1, LONGEST_KERNEL))
    activations = fields.each("activation", count, _activation)
    old = "gated" if fields.get("gated") is True else "none"
    gatings = fields.each("gating_mode", count, _gating, old)
    given = fields.get("secondary_activation")
    seconds = given if isinstance(given, list) else [given] * count
    if len(seconds) != count:
        raise ConfigError(f"{fields.name('secondary_activation')} is a list of {len(seconds)} for {count} layers")
    layers = []
    for i, (kernel, activation, gating) in enumerate(zip(kernels, activations, gatings, strict=True)):
        value = seconds[i] if seconds[i] not in (None, "") else "Sigmoid"
        second = None if gating == "none" else _activation(value, fields.name("secondary_activation"))
        for made in (activation, second):
            if made and len(made.slopes) not in (0, 1, bottleneck):
                raise ConfigError(f"{fields.where}: {len(made.slopes)} slopes of a PReLU for {bottleneck} channels")
        layers.append(Layer(kernel, activation, gating, second))
    return tuple(layers)


def _head_of_array(fields: _Fields) -> Conv:
    head = fields.child("head")
    if head is None:
        return Conv(fields.whole("head_size"), 1, 1, fields.flag("head_bias"))
    kernel = head.whole("kernel_size", None, 1, LONGEST_KERNEL)
    return Conv(head.whole("out_channels"), kernel, head.whole("head_dilation", 1), head.flag("bias"))


def _check(array: LayerArray, fields: _Fields) -> None:
    """Refuse groups that do not divide, and parts that need others."""
    divided: list[tuple[str, int, tuple[int, ...]]] = []
    for layer in set(array.layers):
        inner = inner_width(array, layer)
        divided.append(("groups_input", array.groups_input, (array.channels, inner)))
        divided.append(("groups_input_mixin", array.groups_input_mixin, (array.condition_size, inner)))
        for name, film in zip(FILMS, array.films, strict=True):
            if film:
                outputs = (1 + film.shift) * film_width(array, layer, name)
                divided.append((f"{name}.groups", film.groups, (array.condition_size, outputs)))
    for name, part in (("layer1x1", array.layer1x1), ("head1x1", array.head1x1)):
        if part:
            divided.append((f"{name}.groups", part.groups, (array.bottleneck, part.out_channels)))
    for name, groups, sizes in divided:
        if any(size % groups for size in sizes):
            raise ConfigError(f"{fields.name(name)} is {groups}, must divide {' and '.join(map(str, sizes))}")
    if array.layer1x1 is None and array.bottleneck != array.channels:
        raise ConfigError(f"{fields.where} has no layer1x1, so bottleneck must be {array.channels}")
    for film, part in (("layer1x1_post_film", array.layer1x1), ("head1x1_post_film", array.head1x1)):
        if array.film(film) and part is None:
            raise ConfigError(f"{fields.name(film)} is active, but what it follows is not")


def _film(fields: _Fields | None) -> Film | None:
    return Film(fields.flag("shift", True), fields.whole("groups", 1)) if fields else None


def _activation(value: Any, name: str) -> Activation:
    try:
        return Activation.read(value)
    except ValueError as error:
        raise ConfigError(f"{name} is {_shown(value)}: {error}") from error


def _gating(value: Any, name: str) -> str:
    if value not in ("none", "gated", "blended"):
        raise ConfigError(f"{name} is {_shown(value)}, must be none, gated or blended")
    return value


def _head(value: Any, inputs: int) -> tuple[tuple[Conv, ...], Activation | None]:
    """The convolutions behind the stack, and the activation before each."""
    if value is None:
        return (), None
    fields = _Fields(value, "head")
    if fields.get("in_channels") is not None:
        _equal("head.in_channels", fields.whole("in_channels"), inputs, "the last head_size")
    channels, outputs, kernels = fields.whole("channels"), fields.whole("out_channels"), fields.get("kernel_sizes")
    if not isinstance(kernels, list) or not 1 <= len(kernels) <= 16:
        raise ConfigError(f"head.kernel_sizes is {_shown(kernels)}, must be a list of 1 to 16")
    sizes = [_whole(k, f"head.kernel_sizes[{i}]", 1, LONGEST_KERNEL) for i, k in enumerate(kernels)]
    activation = _activation(fields.get("activation"), "head.activation")
    if len(activation.slopes) > 1:
        raise ConfigError("head.activation: a PReLU of a slope for each channel is not read here")
    return tuple(Conv(w, k) for w, k in zip([channels] * (len(sizes) - 1) + [outputs], sizes, strict=True)), activation


def _condition(value: Any, in_channels: int) -> tuple[str | None, int]:
    """The nested network's canonical text without its weights, and the channels of the condition."""
    if value is None:
        return None, in_channels
    fields = _Fields(value, "condition_dsp")
    kind, config = fields.get("architecture"), fields.get("config")
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ConfigError("condition_dsp must have an architecture and a config")
    if kind != "WaveNet":
        return json.dumps({"architecture": kind, "config": config}, sort_keys=True), 1
    if config.get("condition_dsp") is not None and "condition_dsp" in (config["condition_dsp"].get("config") or {}):
        raise ConfigError("condition_dsp is nested more than twice, which is not read")
    try:
        nested = read(config)
    except ConfigError as error:
        raise ConfigError(f"condition_dsp: {error}") from error
    _equal("condition_dsp: in_channels", nested.in_channels, in_channels, "ours")
    return json.dumps({"architecture": kind, "config": write(nested)}, sort_keys=True), nested.outputs


def _whole(value: Any, name: str, low: int = 1, high: int = LARGEST) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name} is {_shown(value)}, must be a whole number of {low} to {high}")
    return value


def _equal(name: str, value: int, wanted: int, what: str) -> None:
    if value != wanted:
        raise ConfigError(f"{name} is {value}, must be {wanted}, {what}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge whole number"
    return repr(value[:40] if isinstance(value, str) else value)


def _written(array: LayerArray) -> dict[str, Any]:
    head = array.head
    config: dict[str, Any] = {
        "input_size": array.input_size,
        "condition_size": array.condition_size,
        "channels": array.channels,
        "bottleneck": array.bottleneck,
        "dilations": list(array.dilations),
        "activation": _joined([layer.activation.written() for layer in array.layers]),
        "gating_mode": _joined([layer.gating for layer in array.layers]),
        "groups_input": array.groups_input,
        "groups_input_mixin": array.groups_input_mixin,
        "layer1x1": {"active": False, "groups": 1},
        "head1x1": {"active": False, "out_channels": array.channels, "groups": 1},
        "head": {"out_channels": head.out_channels, "kernel_size": head.kernel_size, "bias": head.bias},
    }
    if head.dilation != 1:
        config["head"]["head_dilation"] = head.dilation
    kernels = _joined([layer.kernel_size for layer in array.layers])
    config["kernel_sizes" if isinstance(kernels, list) else "kernel_size"] = kernels
    seconds = [layer.secondary.written() if layer.secondary else "" for layer in array.layers]
    if any(seconds):
        config["secondary_activation"] = _joined(seconds)
    for name, part in (("layer1x1", array.layer1x1), ("head1x1", array.head1x1)):
        if part:
            config[name] = {"active": True, "out_channels": part.out_channels, "groups": part.groups}
    config["layer1x1"].pop("out_channels", None)
    for name, film in zip(FILMS, array.films, strict=True):
        if film:
            config[name] = {"active": True, "shift": film.shift, "groups": film.groups}
    return config


def _joined(values: list) -> Any:
    """One value where all are the same."""
    return values[0] if all(value == values[0] for value in values) else values
