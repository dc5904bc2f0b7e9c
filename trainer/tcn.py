"""TCNs in batches, for training: whole segments at once, each with the past it needs, nothing padded.

`[B, C, T]` here. Knobs stand still within a segment; where they are, the modulation's scale goes into the weights.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

PLAIN = ("NCH", "OIH", "NCH")


def steerable(effect, x):
    """A `SteerableTCN`: `[B, receptive_field - 1 + T, 1 + K] -> [B, T]`."""
    return _blocks(effect, x, _values(effect, x))[:, 0]


def micro(effect, x):
    """A `MicroTCN`: `[B, receptive_field - 1 + T, 1 + K] -> [B, T]`."""
    conditions = _values(effect, x)
    for layer in effect.conditioning:
        conditions = jax.nn.relu(conditions @ layer.weight[...].T + layer.bias[...][None])
    y = _blocks(effect, x, conditions)
    return jnp.tanh(jnp.einsum("c,bct->bt", effect.output_weight[0], y) + effect.output_bias[0])


def _values(effect, x):
    """The knobs' values at the first sample, `[B, K]`."""
    return jnp.concatenate([knob.value(x[:, 0, 1 + k : 2 + k]) for k, knob in enumerate(effect.knobs)], axis=1)


def _blocks(effect, x, conditions):
    signal = x[:, None, :, 0]
    for block in effect.blocks:
        signal = _block(block, signal, conditions @ block.film_weight[...].T + block.film_bias[...][None])
    return signal


def _block(block, x, film):
    gamma, beta = jnp.split(film[:, :, None], 2, axis=1)
    weight, dilation = block.conv.weight[...], block.conv.dilation
    lookback = block.lookback
    short = x[:, :, lookback - block.conv.lookback :]
    y = gamma * convolve(short, weight, dilation)
    y = y + (beta if block.conv.bias is None else beta + gamma * block.conv.bias[...][None, :, None])
    y = jnp.maximum(y, 0) + block.slope[...][None, :, None] * jnp.minimum(y, 0)
    start = lookback - block.residual_delay
    late, residual = x[:, :, start : start + y.shape[2]], block.residual[...]
    return y + (jnp.einsum("oi,bit->bot", residual, late) if residual.ndim == 2 else residual[None, :, None] * late)


def convolve(x, weight, dilation: int):
    """A dilated convolution without padding, `[B, I, L] -> [B, O, L - lookback]`; oldest tap first."""
    outputs, inputs, width = weight.shape
    length = x.shape[2] - (width - 1) * dilation
    taps = [slice(k * dilation, k * dilation + length) for k in range(width)]
    if inputs == 1:  # a product with the taps side by side: the library's own is slow for one channel
        return jnp.einsum("ok,bkt->bot", weight[:, 0], jnp.concatenate([x[:, :, tap] for tap in taps], axis=1))
    if outputs == 1:  # a product for each tap, then shifted sums
        each = jnp.einsum("ik,bit->bkt", weight[0], x)
        return sum((each[:, k : k + 1, tap] for k, tap in enumerate(taps)), jnp.zeros((len(x), 1, length)))
    return lax.conv_general_dilated(x, weight, (1,), "VALID", rhs_dilation=(dilation,), dimension_numbers=PLAIN)
