"""The maths of NAM's WaveNet, channel-major: a block through all its layers, streaming or differentiable.

What the convolutions remember lies side by side along time, one buffer for each width. A line of it is the past, then
ROOM columns to write into; all lines are written at one head, and when the room is used up the past is moved to the
front. No read wraps, a layer writes once, and nothing depends on the length of a block.

`stream` runs the network a tile at a time, inside loops whose number of turns the compiler does not know: XLA makes one
native kernel of such a loop, without a call for every operation. A product of matrices is there a loop of updates of
low rank, which it turns into vector instructions. Its derivative is that of `whole`, the same maths written plainly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from .wavenet_config import Film, Layer, LayerArray, Plan, Tensor, head_tensors, layer_tensors, lines, tensors

ROOM = 512  # columns to write into before the past is moved
TILE = 64  # columns of a tile, which then stays in the nearest cache; twice as many in small networks
PIECE = 64  # columns that are moved at a time
RANK = 8  # rows of an update


class Past(NamedTuple):
    """What a network remembers: buffers `[width, columns]`, and the column in every line where the next sample goes."""

    buffers: tuple[Float[Array, "C L"], ...]
    head: Int[Array, ""]


class Place(NamedTuple):
    """Where a line lies: which buffer, and the column of its head 0."""

    buffer: int
    origin: int


@lru_cache(64)
def _map(plan: Plan) -> tuple[tuple[Place | None, ...], tuple[tuple[int, int], ...]]:
    """The place of each line (None for one without a past), and the shape of each buffer."""
    found = lines(plan)
    widths = sorted({line.width for line in found if line.lookback})
    ends, places = [0] * len(widths), []
    for line in found:
        if not line.lookback:
            places.append(None)
            continue
        which = widths.index(line.width)
        origin = ends[which] + _whole_pieces(line.lookback)
        places.append(Place(which, origin))
        ends[which] = origin + ROOM
    # An odd number of cache lines: rows then do not fight for the same places of the cache.
    return tuple(places), tuple(
        (width, end + (16 if end // 16 % 2 == 0 else 0)) for width, end in zip(widths, ends, strict=True)
    )


# --- one layer, for every way of running it ---


def _film(film: Film | None, name: str, p, x, c, product):
    """`x * scale (+ shift)`, made from the condition at each sample."""
    if film is None:
        return x
    made = product(_column(p[f"{name}.bias"], c), p[f"{name}.weight"], c, film.groups)
    return x * made[: len(x)] + made[len(x) :] if film.shift else x * made


def _column(bias, like):
    return jnp.broadcast_to(bias[:, None], (len(bias), like.shape[1]))


def _layer(array: LayerArray, layer: Layer, p, y, c, skip, product, convolve):
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


def _split(flat, tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """Pieces of a flat array by name."""
    found, at = {}, 0
    for tensor in tensors:
        size = math.prod(tensor.shape)
        found[tensor.name] = flat[at : at + size].reshape(tensor.shape)
        at += size
    return found


def _size(tensors: tuple[Tensor, ...]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


# --- the whole block at once, with a derivative ---


def _walk(plan: Plan, weights, scale, x, c, product, convolve):
    """The network, every layer written out; `convolve` has the number of the line as its first argument."""
    p, pasts, number = _split(weights, tensors(plan)), [], itertools.count()
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
            y, skip, _ = _layer(array, layer, own, y, c, skip, product, remembering)
        signal, skip = y, remembering(_bias(p, f"{i}.head", array.head, skip), p[f"{i}.head.weight"], skip)[0]
    y = scale * skip
    for n, conv in enumerate(plan.head):
        y = plan.activated(y)
        y = remembering(_bias(p, f"head.{n}", conv, y), p[f"head.{n}.weight"], y)[0]
    return y, pasts


def _bias(p, name, conv, like):
    if conv.bias:
        return _column(p[f"{name}.bias"], like)
    return jnp.zeros((conv.out_channels, like.shape[1]), jnp.float32)


def _product(start, weight, x, groups=1):
    if groups == 1:
        return start + weight @ x
    weight = weight.reshape(groups, -1, weight.shape[1])
    return start + (weight @ x.reshape(groups, -1, x.shape[1])).reshape(start.shape)


def whole(plan: Plan, weights, scale, past: Past, x: Float[Array, "I T"], c: Float[Array, "D T"]):
    """A block of any length: the output `[O, T]`, and the past after it."""
    places, shapes = _map(plan)
    found, dilations = lines(plan), _dilations(plan)

    def convolve(number, start, weight, x, groups):
        place, (width, lookback) = places[number], found[number]
        if place is None:
            return _product(start, weight[:, :, 0], x, groups), None
        at = (jnp.int32(0), place.origin - lookback + past.head)
        signal = jnp.concatenate([lax.dynamic_slice(past.buffers[place.buffer], at, (width, lookback)), x], axis=1)
        y = lax.conv_general_dilated(
            signal[None],
            weight,
            window_strides=(1,),
            padding="VALID",
            rhs_dilation=(dilations[number],),
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


@lru_cache(64)
def _dilations(plan: Plan) -> tuple[int, ...]:
    """Of each line's convolution."""
    arrays = itertools.chain.from_iterable((*array.dilations, array.head.dilation) for array in plan.arrays)
    return (*arrays, *(conv.dilation for conv in plan.head))


# --- a tile at a time, in one native loop ---


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def stream(plan: Plan, weights, scale, past: Past, x: Float[Array, "I T"], c: Float[Array, "D T"]):
    """A block of any length: the output `[O, T]`, and the past after it.

    The last tile is filled up with silence; what that leaves behind the head is overwritten by the next block.
    """
    length, size = x.shape[1], _tile_size(plan, x.shape[1])
    count = -(-length // size)
    x, c = (jnp.pad(signal, ((0, 0), (0, count * size - length))) for signal in (x, c))

    def one(carry):
        n, past, y = carry
        past = _make_room(plan, past, size)
        part, c_part = (lax.dynamic_slice(whole, (0, n * size), (len(whole), size)) for whole in (x, c))
        memory = _Memory(_map(plan)[0], past.head, _streaming)
        out, buffers = _tile(plan, weights, scale, past.buffers, memory, part, c_part)
        head = past.head + jnp.minimum(size, length - n * size)
        return n + 1, Past(buffers, head), lax.dynamic_update_slice(y, out, (0, n * size))

    # The compiler would take the loop away, if it knew that there is one turn.
    turns = jnp.where(past.head >= 0, count, 0)
    start = jnp.int32(0), past, jnp.zeros((plan.outputs, count * size), jnp.float32)
    _, past, y = lax.while_loop(lambda carry: carry[0] < turns, one, start)
    return y[:, :length], past


@stream.defjvp
def _stream_jvp(plan, primals, tangents):
    return jax.jvp(partial(whole, plan), primals, tangents)


def _tile_size(plan: Plan, length: int) -> int:
    """Columns of a tile. Loops are at their best over whole multiples of TILE: four vectors of 16 at a time."""
    if length <= TILE // 2:
        return 16 if length <= 16 else TILE // 2
    small = max(array.channels for array in plan.arrays) < RANK
    return 2 * TILE if small and length % (2 * TILE) in (0, *range(TILE + 1, 2 * TILE)) else TILE


def _make_room(plan, past: Past, size) -> Past:
    """The past at the front of its lines, if there is no room left behind the head."""

    def move(past):
        return Past(tuple(map(moved, past.buffers, _pieces(plan))), jnp.zeros_like(past.head))

    def moved(buffer, pieces):
        def one(n, buffer):
            first = jnp.asarray(pieces, jnp.int32)[n]
            kept = lax.dynamic_slice(buffer, (0, first + past.head), (len(buffer), PIECE))
            return lax.dynamic_update_slice(buffer, kept, (0, first))

        return lax.fori_loop(0, len(pieces), one, buffer)

    return lax.while_loop(lambda past: past.head + size > ROOM, move, past)


@lru_cache(64)
def _pieces(plan: Plan) -> tuple[tuple[int, ...], ...]:
    """For each buffer, the columns where the pieces of its pasts begin."""
    places, shapes = _map(plan)
    found: list[list[int]] = [[] for _ in shapes]
    for place, line in zip(places, lines(plan), strict=True):
        if place is not None:
            found[place.buffer] += range(place.origin - _whole_pieces(line.lookback), place.origin, PIECE)
    return tuple(map(tuple, found))


def _whole_pieces(columns: int) -> int:
    return -(-columns // PIECE) * PIECE


class _Memory(NamedTuple):
    """How the convolutions of a tile remember: where each line is kept, and a convolution that puts its input there."""

    places: tuple[Place | None, ...]
    head: Int[Array, ""] | int
    convolve: Callable  # (start, weight, x, buffer, column, dilation) -> start + the convolution, the buffer after it


def _tile(plan: Plan, weights, scale, buffers, memory: _Memory, x, c):
    """One tile, its layers in loops over those that are alike; the output and the buffers."""
    buffers = list(buffers)
    at, number = 0, 0  # in the weights, in the lines
    signal, skip = x, None

    def take(tensors):
        nonlocal at
        at += _size(tensors)
        return _split(weights[at - _size(tensors) : at], tensors)

    def convolved(conv, x, found):
        weight, start = found["head.weight"], _bias(found, "head", conv, x)
        place = memory.places[number]
        if place is None:
            return _by_rank(start, weight[:, :, 0], x)
        column, which = place.origin + memory.head, place.buffer
        y, buffers[which] = memory.convolve(start, weight, x, buffers[which], column, conv.dilation)
        return y

    for array in plan.arrays:
        start = jnp.zeros((array.channels, x.shape[1]), jnp.float32)
        rechannel = Tensor("weight", (array.channels, array.input_size), 1)
        y = _by_rank(start, take((rechannel,))["weight"], signal)
        skip = jnp.zeros((array.skip, x.shape[1]), jnp.float32) if skip is None else skip
        for layer, run in itertools.groupby(zip(array.layers, array.dilations, strict=True), lambda pair: pair[0]):
            dilations = tuple(dilation for _, dilation in run)
            run = memory.places[number : number + len(dilations)], dilations
            buffers, y, skip = _run(array, layer, weights, at, run, memory, c, (buffers, y, skip))
            at, number = at + len(dilations) * _size(layer_tensors(array, layer)), number + len(dilations)
        signal, skip = y, convolved(array.head, skip, take(head_tensors(array)))
        number += 1
    y = scale * skip
    for conv in plan.head:
        y = plan.activated(y)
        shape = (conv.out_channels, len(y), conv.kernel_size)
        y = convolved(conv, y, take((Tensor("head.weight", shape, 1), Tensor("head.bias", shape[:1], 1))))
        number += 1
    return y, tuple(buffers)


def _run(array, layer, weights, base, run, memory: _Memory, c, state):
    """Layers that differ in nothing but their weights and dilations, in a loop."""
    places, dilations = run
    own = layer_tensors(array, layer)
    which = places[0].buffer if places[0] else None
    origins = tuple(place.origin if place else 0 for place in places)

    def one(n, state):
        buffer, y, skip = state
        p = _split(lax.dynamic_slice(weights, (base + n * _size(own),), (_size(own),)), own)
        origin, dilation = (jnp.asarray(of, jnp.int32)[n] for of in (origins, dilations))

        def convolve(start, weight, x, groups):
            weight = _dense(weight, groups)
            if buffer is None:
                return _by_rank(start, weight[:, :, 0], x), None
            return memory.convolve(start, weight, x, buffer, origin + memory.head, dilation)

        y, skip, buffer = _layer(array, layer, p, y, c, skip, _by_rank, convolve)
        return buffer, y, skip

    buffers, y, skip = state
    buffer, y, skip = lax.fori_loop(0, len(places), one, (None if which is None else buffers[which], y, skip))
    if which is not None:
        buffers[which] = buffer
    return buffers, y, skip


def _streaming(start, weight, x, buffer, column, dilation):
    buffer = lax.dynamic_update_slice(buffer, x, (0, column))
    return _by_taps(start, weight, buffer, column, dilation), buffer


def _dense(weight, groups):
    """The weights of grouped channels among zeros, as if all were mixed."""
    if groups == 1:
        return weight
    outputs, inputs = len(weight), weight.shape[1] * groups
    same = np.arange(outputs)[:, None] // (outputs // groups) == np.arange(inputs)[None, :] // weight.shape[1]
    tiled = jnp.concatenate([weight] * groups, axis=1)
    return jnp.where(same.reshape(same.shape + (1,) * (weight.ndim - 2)), tiled, 0.0)


def _by_rank(start, weight, x, groups=1):
    """`start + weight @ x` as a loop of updates of low rank."""
    weight = _dense(weight, groups)
    outputs, inputs = weight.shape
    rows = _divisor(inputs, RANK)

    def update(n, total):
        w = lax.dynamic_slice(weight, (0, n * rows), (outputs, rows))
        some = lax.dynamic_slice(x, (n * rows, 0), (rows, x.shape[1]))
        return _updated(total, w, some)

    return lax.fori_loop(0, inputs // rows, update, start)


def _by_taps(start, weight, buffer, column, dilation):
    """`start` plus a dilated convolution of what the buffer holds up to the block at `column`."""
    outputs, inputs, width = weight.shape
    rows, length = _divisor(inputs, RANK), start.shape[1]
    pieces = inputs // rows
    taps = _divisor(width, max(1, min(RANK // rows, width // 2)))

    def update(n, total):
        for tap in (n // pieces * taps + i for i in range(taps)):
            row = n % pieces * rows
            w = lax.dynamic_slice(weight, (0, row, tap), (outputs, rows, 1))[:, :, 0]
            some = lax.dynamic_slice(buffer, (row, column - (width - 1 - tap) * dilation), (rows, length))
            total = _updated(total, w, some)
        return total

    return lax.fori_loop(0, width // taps * pieces, update, start)


def _updated(total, weight, x):
    for row in range(len(x)):
        total = total + weight[:, row, None] * x[None, row]
    return total


def _divisor(size: int, most: int) -> int:
    return max(n for n in range(1, most + 1) if size % n == 0)


# --- the beginning ---


def silence(plan: Plan, weights, scale, x: Float[Array, "I 1"], c: Float[Array, "D 1"]):
    """The output and the past when the inputs have stood at these values for ever."""

    def convolve(start, weight, x, buffer, column, dilation):
        return _by_rank(start, weight.sum(-1), x), lax.dynamic_update_slice(buffer, x, (0, column))

    places, shapes = _map(plan)
    counts, columns = [0] * len(shapes), []
    for place in places:
        columns.append(None if place is None else Place(place.buffer, counts[place.buffer]))
        if place is not None:
            counts[place.buffer] += 1
    held = tuple(jnp.zeros((width, count), jnp.float32) for (width, _), count in zip(shapes, counts, strict=True))
    y, held = _tile(plan, weights, scale, held, _Memory(tuple(columns), 0, convolve), x, c)
    origins = [[p.origin for p in places if p and p.buffer == n] for n in range(len(shapes))]
    starts = [[0] + [origin + ROOM for origin in each[:-1]] for each in origins]
    lengths = [np.diff([*each, size]) for each, (_, size) in zip(starts, shapes, strict=True)]
    which = [np.repeat(np.arange(len(each)), each) for each in lengths]
    return y, Past(tuple(h[:, w] for h, w in zip(held, which, strict=True)), jnp.zeros((), jnp.int32))
