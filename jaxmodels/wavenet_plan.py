"""The architecture of a WaveNet as values: which convolutions there are, what they weigh, what they remember.

The order of the weights is that of a `.nam` file (neural-amp-modeler, models/wavenet).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from .activations import Activation

FILMS = (
    "conv_pre_film",
    "conv_post_film",
    "input_mixin_pre_film",
    "input_mixin_post_film",
    "activation_pre_film",
    "activation_post_film",
    "layer1x1_post_film",
    "head1x1_post_film",
)


@dataclass(frozen=True)
class Film:
    """Scale, and where `shift` something to add, made from the condition by a 1x1 convolution."""

    shift: bool = True
    groups: int = 1


@dataclass(frozen=True)
class Pointwise:
    """A 1x1 convolution with bias."""

    out_channels: int
    groups: int = 1


@dataclass(frozen=True)
class Conv:
    """A convolution that mixes the skip paths: after each array, or in the head behind the stack."""

    out_channels: int
    kernel_size: int
    dilation: int = 1
    bias: bool = True

    @property
    def lookback(self) -> int:
        return (self.kernel_size - 1) * self.dilation


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer of an array, its dilation apart."""

    kernel_size: int
    activation: Activation
    gating: str = "none"
    secondary: Activation | None = None  # the gate's; None where there is none


@dataclass(frozen=True)
class LayerArray:
    """Layers of one width on top of each other; their skip paths are summed and go through `head`."""

    input_size: int
    condition_size: int
    channels: int
    bottleneck: int
    dilations: tuple[int, ...]
    layers: tuple[Layer, ...]
    head: Conv
    groups_input: int = 1
    groups_input_mixin: int = 1
    layer1x1: Pointwise | None = None
    head1x1: Pointwise | None = None
    films: tuple[Film | None, ...] = (None,) * len(FILMS)

    @property
    def skip(self) -> int:
        """Channels of the skip path."""
        return self.head1x1.out_channels if self.head1x1 else self.bottleneck

    def film(self, name: str) -> Film | None:
        return self.films[FILMS.index(name)]

    def lookback(self, layer: int) -> int:
        return (self.layers[layer].kernel_size - 1) * self.dilations[layer]


class Tensor(NamedTuple):
    """A piece of the flat weights; its initial values are uniform in +-1/sqrt(fan_in)."""

    name: str
    shape: tuple[int, ...]
    fan_in: int


@dataclass(frozen=True)
class Plan:
    """A whole network. `condition` is the canonical text of a nested network, as `config` is ours."""

    in_channels: int
    arrays: tuple[LayerArray, ...]
    head: tuple[Conv, ...] = ()
    head_activation: Activation | None = None
    condition: str | None = None

    @property
    def outputs(self) -> int:
        return self.head[-1].out_channels if self.head else self.arrays[-1].head.out_channels

    def activated(self, x):
        """The nonlinearity of the head behind the stack."""
        return self.head_activation(x) if self.head_activation else x

    @property
    def receptive_field(self) -> int:
        """Samples heard, the present one included; of the nested network not."""
        layers = sum(array.lookback(n) for array in self.arrays for n in range(len(array.layers)))
        return 1 + layers + sum(array.head.lookback for array in self.arrays) + sum(conv.lookback for conv in self.head)


# --- weights ---


def inner_width(array: LayerArray, layer: Layer) -> int:
    """Channels that come out of a layer's convolution: twice the bottleneck where half of them are gates."""
    return array.bottleneck * (1 if layer.gating == "none" else 2)


def film_width(array: LayerArray, layer: Layer, name: str) -> int:
    """Channels of what a FiLM modulates."""
    widths = {"conv_pre_film": array.channels, "input_mixin_pre_film": array.condition_size}
    widths |= {"activation_post_film": array.bottleneck, "layer1x1_post_film": array.channels}
    return array.skip if name == "head1x1_post_film" else widths.get(name, inner_width(array, layer))


def _pair(name: str, outputs: int, inputs: int, groups: int = 1, kernel: tuple[int, ...] = ()) -> list[Tensor]:
    fan_in = inputs // groups * math.prod(kernel)
    return [
        Tensor(f"{name}.weight", (outputs, inputs // groups, *kernel), fan_in),
        Tensor(f"{name}.bias", (outputs,), fan_in),
    ]


@lru_cache(1024)
def layer_tensors(array: LayerArray, layer: Layer) -> tuple[Tensor, ...]:
    """The weights of one layer, in the order of the file."""
    inner = inner_width(array, layer)
    found = _pair("conv", inner, array.channels, array.groups_input, (layer.kernel_size,))
    found += _pair("mixin", inner, array.condition_size, array.groups_input_mixin)[:1]
    for name, part in (("layer1x1", array.layer1x1), ("head1x1", array.head1x1)):
        if part:
            found += _pair(name, part.out_channels, array.bottleneck, part.groups)
    for name, film in zip(FILMS, array.films, strict=True):
        if film:
            outputs = (1 + film.shift) * film_width(array, layer, name)
            found += _pair(name, outputs, array.condition_size, film.groups)
    return tuple(found)


def head_tensors(array: LayerArray) -> tuple[Tensor, ...]:
    """The tensors of an array's head convolution: the weight, and the bias where it has one."""
    head = array.head
    return tuple(_pair("head", head.out_channels, array.skip, 1, (head.kernel_size,))[: 2 if head.bias else 1])


@lru_cache(64)
def tensors(plan: Plan) -> tuple[Tensor, ...]:
    """All weights in the order of the file, the final `head_scale` apart."""
    found: list[Tensor] = []
    for i, array in enumerate(plan.arrays):
        found.append(Tensor(f"{i}.rechannel.weight", (array.channels, array.input_size), array.input_size))
        for n, layer in enumerate(array.layers):
            found += [tensor._replace(name=f"{i}.{n}.{tensor.name}") for tensor in layer_tensors(array, layer)]
        found += [tensor._replace(name=f"{i}.{tensor.name}") for tensor in head_tensors(array)]
    width = plan.arrays[-1].head.out_channels
    for n, conv in enumerate(plan.head):
        found += _pair(f"head.{n}", conv.out_channels, width, 1, (conv.kernel_size,))
        width = conv.out_channels
    return tuple(found)


def num_weights(plan: Plan) -> int:
    """How many there are, `head_scale` apart."""
    return sum(math.prod(tensor.shape) for tensor in tensors(plan))


# --- the past ---


class Line(NamedTuple):
    """The input of one convolution, which has to be remembered: channels, how far back, and from tap to tap."""

    width: int
    lookback: int
    dilation: int


@lru_cache(64)
def lines(plan: Plan) -> tuple[Line, ...]:
    """All of them: each array's layers, then its head; then the convolutions behind the stack."""
    found = []
    for array in plan.arrays:
        found += [Line(array.channels, array.lookback(n), dilation) for n, dilation in enumerate(array.dilations)]
        found.append(Line(array.skip, array.head.lookback, array.head.dilation))
    width = plan.arrays[-1].head.out_channels
    for conv in plan.head:
        found.append(Line(width, conv.lookback, conv.dilation))
        width = conv.out_channels
    return tuple(found)


def slimmed(array: LayerArray, channels: int, input_size: int, head_size: int) -> LayerArray:
    """An array of fewer channels, as NAM cuts it out of a slimmable one."""
    bottleneck = max(1, array.bottleneck * channels // array.channels) if array.layer1x1 else channels
    layer1x1 = Pointwise(channels) if array.layer1x1 else None
    head = replace(array.head, out_channels=head_size)
    return replace(array, input_size=input_size, channels=channels, bottleneck=bottleneck, layer1x1=layer1x1, head=head)
