"""The maths of NAM's WaveNet, channel-major, and what its convolutions remember.

What they remember lies side by side along time, one buffer for each width. A line of it is the past, then ROOM columns
to write into; all lines are written at one head, and when the room is used up the past is moved to the front. So no
read wraps, a layer writes once, and nothing depends on the length of a block.

`whole` is the plain way, for training; `wavenet_stream` is the quick one.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache, partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .wavenet_plan import Film, Layer, LayerArray, Plan, Tensor, layer_tensors, lines, tensors

ROOM = 512  # columns to write into before the past is moved
PIECE = 64  # columns that are moved at a time


class Past(NamedTuple):
    """What a network remembers: buffers `[width, columns]`, and the column in every line where the next sample goes."""

    buffers: tuple[Float[Array, "C L"], ...]
    head: Int[Array, ""]


class Place(NamedTuple):
    """Where a line lies: which buffer, and the column of its head 0."""

    buffer: int
    origin: int


@lru_cache(64)
def memory_map(plan: Plan) -> tuple[tuple[Place | None, ...], tuple[tuple[int, int], ...]]:
    """The place of each line (None for one without a past), and the shape of each buffer."""
    found = lines(plan)
    widths = sorted({line.width for line in found if line.lookback})
    ends, places = [0] * len(widths), []
    for line in found:
        if not line.lookback:
            places.append(None)
            continue
        which = widths.index(line.width)
        origin = ends[which] + whole_pieces(line.lookback)
        places.append(Place(which, origin))
        ends[which] = origin + ROOM
    # An odd number of cache lines: rows then do not fight for the same places of the cache.
    return tuple(places), tuple(
        (width, end + (16 if end // 16 % 2 == 0 else 0)) for width, end in zip(widths, ends, strict=True)
    )


def whole_pieces(columns: int) -> int:
    """The columns rounded up to whole pieces."""
    return -(-columns // PIECE) * PIECE


# --- one layer, for every way of running it ---


def _film(film: Film | None, name: str, p, x, c, product):
    """`x * scale (+ shift)`, made from the condition at each sample."""
    if film is None:
        return x
    made = product(_column(p[f"{name}.bias"], c), p[f"{name}.weight"], c, film.groups)
    return x * made[: len(x)] + made[len(x) :] if film.shift else x * made


def _column(bias, like):
    return jnp.broadcast_to(bias[:, None], (len(bias), like.shape[1]))


def layer_step(array: LayerArray, layer: Layer, p, y, c, skip, product, convolve):
    """One layer: `y [C, T]` and the sum of the skip paths after it, and what its convolution remembers.

    p         its weights by name
    product   `(start, weight, x, groups) -> start + weight @ x`
    convolve  `(start, weight, x, groups) -> (start + the convolution, the past after it)`
    """

    def film(name, x):
        return _film(array.film(name), name, p, x, c, product)

    bias, mixed = _column(p["conv.bias"], y), film("input_mixin_pre_film", c)
    mixin = partial(product, weight=p["mixin.weight"], x=mixed, groups=array.groups_input_mixin)
    signal = film("conv_pre_film", y)
    if array.film("conv_post_film") or array.film("input_mixin_post_film"):
        z, past = convolve(bias, p["conv.weight"], signal, array.groups_input)
        z = film("conv_post_film", z) + film("input_mixin_post_film", mixin(jnp.zeros_like(bias)))
    else:
        z, past = convolve(mixin(bias), p["conv.weight"], signal, array.groups_input)
    z = film("activation_pre_film", z)
    a = film("activation_post_film", _gate(layer, z, array.bottleneck))
    out = a
    if array.head1x1:
        out = product(_column(p["head1x1.bias"], a), p["head1x1.weight"], a, array.head1x1.groups)
        out = film("head1x1_post_film", out)
    if array.layer1x1:
        start = _column(p["layer1x1.bias"], a)
        if array.film("layer1x1_post_film"):
            y = y + film("layer1x1_post_film", product(start, p["layer1x1.weight"], a, array.layer1x1.groups))
        else:
            y = product(y + start, p["layer1x1.weight"], a, array.layer1x1.groups)
    return y, skip + out, past


def _gate(layer: Layer, z, bottleneck):
    if layer.secondary is None:
        return layer.activation(z)
    z, gate = z[:bottleneck], layer.secondary(z[bottleneck:])
    if layer.gating == "gated":
        return layer.activation(z) * gate
    return gate * layer.activation(z) + (1 - gate) * z


def split(flat, tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """Pieces of a flat array by name."""
    found, at = {}, 0
    for tensor in tensors:
        size = math.prod(tensor.shape)
        found[tensor.name] = flat[at : at + size].reshape(tensor.shape)
        at += size
    return found


def weigh(tensors: tuple[Tensor, ...]) -> int:
    """How many numbers these tensors are."""
    return sum(math.prod(tensor.shape) for tensor in tensors)


def skip_start(p, name, conv, like):
    """What the sum of a skip path begins with: the bias, or zeros, `[C, T]` as long as `like`."""
    if conv.bias:
        return _column(p[f"{name}.bias"], like)
    return jnp.zeros((conv.out_channels, like.shape[1]), jnp.float32)


# --- the whole block at once, with a derivative ---


def _walk(plan: Plan, weights, scale, x, c, product, convolve):
    """The network, every layer written out; `convolve` has the number of the line as its first argument."""
    p, pasts, number = split(weights, tensors(plan)), [], itertools.count()
    signal, skip = x, None

    def remembering(start, weight, x, groups=1):
        y, past = convolve(next(number), start, weight, x, groups)
        pasts.append(past)
        return y, past

    for i, array in enumerate(plan.arrays):
        start = jnp.zeros((array.channels, x.shape[1]), jnp.float32)
        y = product(start, p[f"{i}.rechannel.weight"], signal, 1)
        skip = jnp.zeros((array.skip, x.shape[1]), jnp.float32) if skip is None else skip
        for n, layer in enumerate(array.layers):
            own = {tensor.name: p[f"{i}.{n}.{tensor.name}"] for tensor in layer_tensors(array, layer)}
            y, skip, _ = layer_step(array, layer, own, y, c, skip, product, remembering)
        signal, skip = y, remembering(skip_start(p, f"{i}.head", array.head, skip), p[f"{i}.head.weight"], skip)[0]
    y = scale * skip
    for n, conv in enumerate(plan.head):
        y = plan.activated(y)
        y = remembering(skip_start(p, f"head.{n}", conv, y), p[f"head.{n}.weight"], y)[0]
    return y, pasts


def _product(start, weight, x, groups=1):
    if groups == 1:
        return start + weight @ x
    weight = weight.reshape(groups, -1, weight.shape[1])
    return start + (weight @ x.reshape(groups, -1, x.shape[1])).reshape(start.shape)


def whole(plan: Plan, weights, scale, past: Past, x: Float[Array, "I T"], c: Float[Array, "D T"]):
    """A block of any length: the output `[O, T]`, and the past after it."""
    places, shapes = memory_map(plan)
    found = lines(plan)

    def convolve(number, start, weight, x, groups):
        place, (width, lookback, dilation) = places[number], found[number]
        if place is None:
            return _product(start, weight[:, :, 0], x, groups), None
        at = (jnp.int32(0), place.origin - lookback + past.head)
        signal = jnp.concatenate([lax.dynamic_slice(past.buffers[place.buffer], at, (width, lookback)), x], axis=1)
        y = lax.conv_general_dilated(
            signal[None],
            weight,
            window_strides=(1,),
            padding="VALID",
            rhs_dilation=(dilation,),
            dimension_numbers=("NCH", "OIH", "NCH"),
            feature_group_count=groups,
        )
        return start + y[0], signal[:, x.shape[1] :]

    y, pasts = _walk(plan, weights, scale, x, c, _product, convolve)
    return y, _placed(places, shapes, pasts)


def _placed(places, shapes, pasts) -> Past:
    """Buffers that hold these pasts, their head at 0."""
    parts: list[list] = [[] for _ in shapes]
    ends = [0] * len(shapes)
    for place, past in zip(places, pasts, strict=True):
        if place is None:
            continue
        width, gap = len(past), place.origin - past.shape[1] - ends[place.buffer]
        parts[place.buffer] += [jnp.zeros((width, gap)), past, jnp.zeros((width, ROOM))]
        ends[place.buffer] = place.origin + ROOM
    for part, end, (width, columns) in zip(parts, ends, shapes, strict=True):
        part.append(jnp.zeros((width, columns - end)))
    return Past(tuple(jnp.concatenate(part, axis=1) for part in parts), jnp.zeros((), jnp.int32))
