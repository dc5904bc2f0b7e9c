"""NAM's WaveNet as it plays: a tile at a time, in native loops.

The turns of the outermost loop are a number that the compiler does not know. XLA makes one native kernel of such a
loop, with no call for every operation, and hands nothing to other threads. A product of matrices is in there a loop of
updates of low rank, which becomes vector instructions; layers that are alike share a loop, so little is compiled.

The derivative of `stream` is that of `wavenet_layers.whole`, the same maths written plainly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from .wavenet_layers import (
    PIECE,
    ROOM,
    Past,
    Place,
    layer_step,
    memory_map,
    skip_start,
    split,
    weigh,
    whole,
    whole_pieces,
)
from .wavenet_plan import Plan, Tensor, head_tensors, layer_tensors, lines

TILE = 64  # columns of a tile, which then stays in the nearest cache; twice as many in small networks
RANK = 8  # rows of an update


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
        memory = _Memory(memory_map(plan)[0], past.head, _streaming)
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
    places, shapes = memory_map(plan)
    found: list[list[int]] = [[] for _ in shapes]
    for place, line in zip(places, lines(plan), strict=True):
        if place is not None:
            found[place.buffer] += range(place.origin - whole_pieces(line.lookback), place.origin, PIECE)
    return tuple(map(tuple, found))


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
        at += weigh(tensors)
        return split(weights[at - weigh(tensors) : at], tensors)

    def convolved(conv, x, found):
        weight, start = found["head.weight"], skip_start(found, "head", conv, x)
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
            at, number = at + len(dilations) * weigh(layer_tensors(array, layer)), number + len(dilations)
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
        p = split(lax.dynamic_slice(weights, (base + n * weigh(own),), (weigh(own),)), own)
        origin, dilation = (jnp.asarray(of, jnp.int32)[n] for of in (origins, dilations))

        def convolve(start, weight, x, groups):
            weight = _dense(weight, groups)
            if buffer is None:
                return _by_rank(start, weight[:, :, 0], x), None
            return memory.convolve(start, weight, x, buffer, origin + memory.head, dilation)

        y, skip, buffer = layer_step(array, layer, p, y, c, skip, _by_rank, convolve)
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

    places, shapes = memory_map(plan)
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
