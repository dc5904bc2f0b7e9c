"""What a convolution or a delay line remembers: the past samples of a signal, plain or packed.

Axis order here is channel-major, `[C, time]`, oldest sample first: a tap is then one contiguous slice.

A box's plain state holds its past as `History`: H samples, copied whole at every step. `pack` turns every `History` of
a state into a `Ring`, which a step only touches where it writes, so the cost of a block no longer depends on how far
back the box can see. Both are read through `extend`, hence a box's `step` is written once for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


class History(NamedTuple):
    """The last H samples of C channels, oldest first."""

    past: Float[Array, "C H"]


@partial(jax.tree_util.register_dataclass, data_fields=["buffer", "head"], meta_fields=["past", "longest"])
@dataclass(frozen=True)
class Ring:
    """The same past in a ring that takes blocks of up to `longest` samples.

    `buffer` is `[C, R + longest]`: R ring columns, then a mirror of the first `longest` of them, so that no read ever
    wraps. `head` is the column where the next block will be written, in 0..R-1.
    """

    buffer: Float[Array, "C L"]
    head: Int[Array, ""]
    past: int  # H, how many samples back a read may reach
    longest: int

    @property
    def size(self) -> int:
        return self.buffer.shape[1] - self.longest


Past = History | Ring


class Window(NamedTuple):
    """A block with everything that came before it; made by `extend`."""

    signal: Float[Array, "C L"]  # the buffer to slice from
    start: Int[Array, ""] | int  # where the block's first sample is in it
    length: int  # T
    wrap: int  # ring size, 0 if `signal` is plain
    after: Past  # the state for the next block

    def tap(self, lag: int) -> Float[Array, "C T"]:
        """The block as it was `lag` samples ago (0 = the block itself)."""
        first = self.start - lag
        if not self.wrap:
            return self.signal[:, first : first + self.length]
        return lax.dynamic_slice_in_dim(self.signal, jnp.mod(first, self.wrap), self.length, axis=1)

    def row(self, channel, lag, length: int) -> Float[Array, "1 N"]:
        """`length` samples of one channel from `lag` samples before the block's first on; numbers may be traced."""
        first = self.start - lag
        return lax.dynamic_slice(self.signal, (channel, jnp.mod(first, self.wrap) if self.wrap else first), (1, length))

    def read(self, lags: Int[Array, " T"]) -> Float[Array, "C T"]:
        """Sample n of the answer is the signal `lags[n]` samples before sample n of the block."""
        where = self.start + jnp.arange(self.length) - lags
        return self.signal[:, jnp.mod(where, self.wrap) if self.wrap else where]


def silence(channels: int, samples: int) -> History:
    """A past of zeros, `samples` long."""
    return History(jnp.zeros((channels, samples), jnp.float32))


def extend(past: Past, block: Float[Array, "C T"]) -> Window:
    """Append a block of T samples; the window reads up to H samples back, and carries the state after the block.

    Raises ValueError where a ring was packed for shorter blocks.
    """
    channels, length = block.shape
    if isinstance(past, History):
        kept = past.past.shape[1]
        whole = jnp.concatenate([past.past, block], axis=1)
        return Window(whole, kept, length, 0, History(whole[:, length:]))
    if length > past.longest:
        raise ValueError(f"block of {length} samples: this ring was packed for blocks of up to {past.longest}")
    size, longest, head = past.size, past.longest, past.head
    buffer = lax.dynamic_update_slice(past.buffer, block, (0, head))
    # Keep the mirror true: what ran over the end goes to the start, what was written at the start goes to the mirror.
    over = head + length > size
    mirror = lax.dynamic_slice(buffer, (0, jnp.where(over, size, 0)), (channels, longest))
    buffer = lax.dynamic_update_slice(buffer, mirror, (0, jnp.where(over, 0, size)))
    after = Ring(buffer, jnp.mod(head + length, size), past.past, longest)
    return Window(buffer, head, length, size, after)


def _is_past(node: object) -> bool:
    return isinstance(node, History | Ring)


def pack(state, longest: int):
    """The same state with every `History` in it turned into a `Ring` for blocks of up to `longest` samples."""

    def one(node):
        if not isinstance(node, History):
            return node
        channels, kept = node.past.shape
        size = max(kept + longest, 2 * longest)
        buffer = jnp.zeros((channels, size + longest), jnp.float32)
        buffer = lax.dynamic_update_slice(buffer, node.past, (0, size - kept))
        return Ring(buffer, jnp.zeros((), jnp.int32), kept, longest)

    return jax.tree.map(one, state, is_leaf=_is_past)


def unpack(state):
    """The plain state again: the inverse of `pack`, for any `longest`."""

    def one(node):
        if not isinstance(node, Ring):
            return node
        where = jnp.mod(node.head - node.past + jnp.arange(node.past), node.size)
        return History(node.buffer[:, where])

    return jax.tree.map(one, state, is_leaf=_is_past)


def has_past(state) -> bool:
    """Whether a state holds any `History` or `Ring`."""
    return any(_is_past(leaf) for leaf in jax.tree.leaves(state, is_leaf=_is_past))
