"""A convolution steered by feature-wise linear modulation (FiLM), and chains of them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from .convolution import CausalConv, Past, extend, product, steady
from .ring import History

LONGEST_FIELD = 2**20  # samples, 24 s; the largest published network hears 155,555


class FilmBlock(nnx.Module):
    """`PReLU(gamma * conv(x) + beta)`, plus the input through a 1x1 convolution, some samples late.

    residual        `[Cout, Cin]` mixes all channels, `[Cout]` scales each of its own (or the only) one
    slope           PReLU's, `[1]` or `[Cout]`
    residual_delay  the papers' code crops the residual one sample late, and their weights depend on it
    """

    def __init__(self, conv: CausalConv, film_weight, film_bias, slope, residual, residual_delay: int):
        self.conv = conv
        self.film_weight, self.film_bias = nnx.Param(jnp.asarray(film_weight)), nnx.Param(jnp.asarray(film_bias))
        self.slope, self.residual = nnx.Param(jnp.asarray(slope)), nnx.Param(jnp.asarray(residual))
        self.residual_delay = residual_delay

    @property
    def lookback(self) -> int:
        return max(self.conv.lookback, self.residual_delay)

    def film(self, conditions: Float[Array, "D T"]) -> Float[Array, "C2 T"]:
        """Gamma, and below it beta, for each column of conditions; one column stands for all samples."""
        return product(self.film_weight[...], conditions) + self.film_bias[...][:, None]

    def step(self, past: Past, x: Float[Array, "Cin T"], film: Float[Array, "C2 T"]):
        """The block's output `[Cout, T]` and its past afterwards."""
        window = extend(past, x)
        y = self._modulated(self.conv(window), film) + self._through(window.tap(self.residual_delay))
        return y, window.after

    def constant(self, column: Float[Array, " Cin"], film: Float[Array, "C2 1"]) -> Float[Array, " Cout"]:
        """What comes out once the input has stood still for longer than the block remembers."""
        y = self._modulated(self.conv.constant(column)[:, None], film) + self._through(column[:, None])
        return y[:, 0]

    def _modulated(self, y, film):
        gamma, beta = jnp.split(film, 2)
        y = gamma * y + beta
        return jnp.maximum(y, 0) + self.slope[...][:, None] * jnp.minimum(y, 0)

    def _through(self, x):
        weight = self.residual[...]
        return product(weight, x) if weight.ndim == 2 else weight[:, None] * x


def silent_pasts(blocks: Sequence[FilmBlock], films) -> tuple[Past, ...]:
    """Every block's past after endless silence at the input of the first; `films` as for `run`, one row each."""
    column, pasts = jnp.zeros(1, jnp.float32), []
    for block, film in zip(blocks, films, strict=True):
        pasts.append(steady(column, block.lookback))
        column = block.constant(column, film)
    return tuple(pasts)


def run(blocks: Sequence[FilmBlock], pasts, x: Float[Array, "1 T"], films):
    """A block of signal through all of them, each with its own gamma and beta; answers the output and the pasts."""
    after = []
    for block, past, film in zip(blocks, pasts, films, strict=True):
        x, new = block.step(past, x, film)
        after.append(new)
    return x, tuple(after)


def once_round(blocks: Sequence[FilmBlock], x: Float[Array, "1 T"], films) -> Float[Array, "1 T"]:
    """What comes out of the last block while a signal goes round for ever; `films` as for `run`."""
    for block, film in zip(blocks, films, strict=True):
        before = jnp.arange(-block.lookback, 0) % x.shape[1]
        x, _ = block.step(History(x[:, before]), x, film)
    return x


def receptive_field(kind: str, blocks: Sequence[FilmBlock]) -> int:
    """Samples that a chain hears, the present one included. Raises ValueError where nobody could hold them."""
    field = 1 + sum(block.lookback for block in blocks)
    if field > LONGEST_FIELD:
        fewer = "use fewer blocks, smaller kernels, or a smaller dilation_growth"
        raise ValueError(f"{kind}: hears {field} samples, at most {LONGEST_FIELD}; {fewer}")
    return field
