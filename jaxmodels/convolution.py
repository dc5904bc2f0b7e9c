"""Dilated causal convolution that streams: the primitive that every convolutional network here is made of.

Channel-major, `[C, T]`. A network keeps one past for each convolution: `steady` makes it, `extend` appends a block to
it, and the convolution reads the window that comes out. A long past is a `ring.History`, which `ring.pack` turns into a
ring; a short one is a plain array, for which copying is cheaper than bookkeeping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from . import ring

SHORT_PAST = 256  # samples; up to here a past is a plain array in the state
LONG_BLOCK = 2048  # samples, the longest that a rack plays; for whole signals the library's operations are quicker
COLUMNS, ROWS = 64, 4  # of a product: so many samples at once, so many taps in one go (all in registers of AVX-512)

Tensor = Array | np.ndarray
Past = ring.Past | Float[Array, "C H"]


def steady(column: Float[Array, " C"], samples: int) -> Past:
    """The past of C signals that have stood at these values for ever, `samples` long."""
    held = jnp.broadcast_to(column[:, None], (len(column), samples))
    return held if samples <= SHORT_PAST else ring.History(held)


def extend(past: Past, block: Float[Array, "C T"]) -> ring.Window:
    """`ring.extend` for short pasts too; `window.after` is the state after the block, of the same kind as `past`."""
    if isinstance(past, ring.History | ring.Ring):
        return ring.extend(past, block)
    window = ring.extend(ring.History(past), block)
    return window._replace(after=window.after.past)


def torch_uniform(key, shapes: Mapping[str, tuple[tuple[int, ...], int]]) -> dict[str, np.ndarray]:
    """PyTorch's first weights of linear and convolutional layers: uniform in +-1/sqrt(fan_in).

    `shapes` says the shape and the fan-in of each tensor. All are cut from one draw, which compiles once.
    """
    sizes = [math.prod(shape) for shape, _ in shapes.values()]
    drawn = np.split(np.asarray(jax.random.uniform(key, (sum(sizes),), jnp.float32, -1.0, 1.0)), np.cumsum(sizes)[:-1])
    each = zip(drawn, shapes.items(), strict=True)
    return {name: part.reshape(shape) / np.float32(math.sqrt(fan_in)) for part, (name, (shape, fan_in)) in each}


def num_parameters(module: nnx.Module) -> int:
    """How many numbers training finds: the sizes of all `nnx.Param` of a network together."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


class CausalConv(nnx.Module):
    """A dilated causal convolution `[Cin, T] -> [Cout, T]`; the last tap is the present sample.

    weight    `[Cout, Cin / groups, K]`, PyTorch's layout
    bias      `[Cout]`, or None
    dilation  samples from tap to tap
    groups    as in PyTorch; `groups = Cin` is a depthwise convolution

    Raises ValueError where the shapes do not fit one another.
    """

    def __init__(self, weight, bias=None, *, dilation: int = 1, groups: int = 1):
        weight = jnp.asarray(weight, jnp.float32)
        if weight.ndim != 3 or len(weight) % groups:
            raise ValueError(f"convolution weight of shape {weight.shape} in {groups} groups: must be [Cout, Cin/g, K]")
        if bias is not None and jnp.shape(bias) != weight.shape[:1]:
            raise ValueError(f"convolution bias of shape {jnp.shape(bias)}: the weight has {len(weight)} outputs")
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(jnp.asarray(bias, jnp.float32))
        self.dilation, self.groups = dilation, groups

    @property
    def inputs(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def lookback(self) -> int:
        """How many samples of past it needs: (K - 1) * dilation."""
        return (self.weight.shape[2] - 1) * self.dilation

    def __call__(self, window: ring.Window) -> Float[Array, "Cout T"]:
        """The convolution at every sample of the window's block."""
        if window.length <= LONG_BLOCK and self.groups == 1:
            width = self.weight.shape[2]

            def row(tap, first, length):
                return window.row(tap // width, (width - 1 - tap % width) * self.dilation - first, length)

            return self._biased(by_rows(self.weight[...].reshape(len(self.weight), -1), row, window.length))
        if window.length > LONG_BLOCK and self.lookback and not window.wrap:
            return self._library(window)
        return self.mix(self.taps(window))

    def taps(self, window: ring.Window) -> Float[Array, "C K T"]:
        """The samples that the weights meet, oldest first."""
        width = self.weight.shape[2]
        return jnp.stack([window.tap((width - 1 - k) * self.dilation) for k in range(width)], axis=1)

    def mix(self, taps: Float[Array, "Cin K T"], *, ordered: bool = False) -> Float[Array, "Cout T"]:
        """Weights times taps, plus the bias.

        ordered: add the taps up one by one, always in the same order. The answer is then the same to the last bit
        however the signal is cut, as networks need that blow up rounding errors; up to twice as slow as a matmul.
        """
        outputs, length = self.weight.shape[0], taps.shape[-1]
        weight = self.weight[...].reshape(self.groups, outputs // self.groups, -1)
        taps = taps.reshape(self.groups, -1, length)
        if ordered or self.weight.shape[1] == 1 < self.groups:
            y = _in_order(weight, taps)
        elif self.groups == 1:
            y = weight[0] @ taps[0]
        else:
            y = weight @ taps
        return self._biased(y.reshape(outputs, length))

    def constant(self, column: Float[Array, " Cin"], *, ordered: bool = False) -> Float[Array, " Cout"]:
        """What comes out once the inputs have stood at these values for longer than the lookback."""
        held = jnp.broadcast_to(column[:, None, None], (len(column), self.weight.shape[2], 1))
        return self.mix(held, ordered=ordered)[:, 0]

    def _library(self, window):
        signal = window.signal[None, :, window.start - self.lookback :]
        y = lax.conv_general_dilated(
            signal,
            self.weight[...],
            window_strides=(1,),
            padding="VALID",
            rhs_dilation=(self.dilation,),
            dimension_numbers=("NCH", "OIH", "NCH"),
            feature_group_count=self.groups,
        )
        return self._biased(y[0])

    def _biased(self, y):
        return y if self.bias is None else y + self.bias[...][:, None]


def product(weight: Float[Tensor, "O R"], x: Float[Tensor, "R T"]) -> Float[Array, "O T"]:
    """`weight @ x` in the form that is quick inside a loop: for one column the compiler's own, else see `by_rows`."""

    def row(n, first, length):
        return lax.dynamic_slice(x, (n, first), (1, length))

    return by_rows(weight, row, x.shape[1]) if 1 < x.shape[1] <= LONG_BLOCK else jnp.matmul(weight, x)


def by_rows(weight: Float[Tensor, "O R"], row: Callable, length: int) -> Float[Array, "O T"]:
    """A product of matrices as a sum of outer products: a column of the weight times `row(n, first, length)` `[1, T]`.

    Inside a loop that is one kernel (see `xla.for_programs`) rows can be read where they lie, nothing is gathered or
    dispatched, and the sums stay in the nearest cache: the library's convolution and product take twice as long and
    more, at any length that a rack plays.
    """
    outputs, rows = weight.shape

    def part(first, length: int):
        def add_group(group, total):
            columns = lax.dynamic_slice(weight, (0, group * ROWS), (outputs, ROWS))
            for n in range(ROWS):
                total = total + columns[:, n, None] * row(group * ROWS + n, first, length)
            return total

        total, groups = jnp.zeros((outputs, length), jnp.float32), rows // ROWS
        if groups:
            total = lax.fori_loop(0, groups, add_group, total)
        for n in range(groups * ROWS, rows):
            total = total + weight[:, n, None] * row(n, first, length)
        return total

    if length <= COLUMNS:
        return part(0, length)

    def put(n, y):  # the last columns start early enough, some are added up twice: another length is another body
        first = jnp.minimum(n * COLUMNS, length - COLUMNS)
        return lax.dynamic_update_slice(y, part(first, COLUMNS), (0, first))

    return lax.fori_loop(0, -(-length // COLUMNS), put, jnp.zeros((outputs, length), jnp.float32))


def _in_order(weight: Float[Array, "G O R"], taps: Float[Array, "G R T"]) -> Float[Array, "G O T"]:
    """`weight @ taps` as a sum of R outer products, first to last."""

    def add(total, row):
        w, tap = row
        return total + w[:, :, None] * tap[:, None, :], None

    start = jnp.zeros((*weight.shape[:2], taps.shape[-1]), jnp.float32)
    return lax.scan(add, start, (weight.transpose(2, 0, 1), taps.transpose(1, 0, 2)))[0]
