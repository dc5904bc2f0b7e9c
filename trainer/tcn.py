"""TCNs and their like in batches, for training: whole segments at once, each with the past it needs, nothing padded.

Time-major, `[B, T, C]`: XLA's convolutions on a CPU want it so, and copy everything that lies otherwise. Knobs stand
still within a segment. Where they stand alike in all of them (`held`), the modulation goes into weights and bias, and a
block is one function with a derivative of its own: a step is then little more than its convolutions.

How a steered network begins decides what a minute of learning makes of it. PyTorch's draw has biases and modulation of
the order of one, beside which a recording of -30 dB is nothing: every PReLU is a straight line at first, and the output
many times too loud. `standardised` sets the first weights by what they hear (as Salimans and Kingma, NeurIPS 2016).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxmodels.effect import knob_values

PLAIN = ("NHC", "HIO", "NHC")
SHARE = 0.7  # of a signal that goes past a block, where both ways together have a root mean square near one
NARROW = 64  # taps times channels: up to here a product of taps side by side beats the library's convolution


def steerable(effect, x, held: bool = False):
    """A `SteerableTCN`: `[B, receptive_field - 1 + T, 1 + K] -> [B, T]`."""
    return _blocks(effect, x, _values(effect, x), held)[..., 0]


def micro(effect, x, held: bool = False):
    """A `MicroTCN`: `[B, receptive_field - 1 + T, 1 + K] -> [B, T]`."""
    conditions = _values(effect, x)
    for layer in effect.conditioning:
        conditions = jax.nn.relu(conditions @ layer.weight[...].T + layer.bias[...][None])
    y = _blocks(effect, x, conditions, held)
    return jnp.tanh(y @ effect.output_weight[0] + effect.output_bias[...][None])


def stack(effect, x):
    """A `ConvStack`: `[B, receptive_field - 1 + T, 1 + K] -> [B, T]`."""
    signal = jnp.concatenate([x[..., :1], knob_values(effect.knobs, x[..., 1:])], axis=-1)
    for n, conv in enumerate(effect.convs):
        heard = convolve(signal, conv.weight[...].transpose(2, 1, 0), 1) + conv.bias[...][None, None]
        signal = _bent(heard, effect.slopes[n : n + 1])
    return signal[..., 0]


def _values(effect, x):
    """The knobs' values at the first sample, `[B, K]`."""
    return knob_values(effect.knobs, x[:, 0, 1:])


# --- how they begin ---------------------------------------------------------------------------------------------------


class Levels(NamedTuple):
    """Root mean squares of what goes in and of what is to come out."""

    dry: float
    wet: float


def standardised(effect, x, levels: Levels):
    """A `SteerableTCN` whose layers make signals of mean 0 and variance 1 of `x` `[1, T, 1 + K]`; its output is as loud
    as what is to come out.

    The signs of the modulation, its shifts inside and all of the knobs' weights stay as they were drawn.
    """
    effect = nnx.clone(effect)
    signal, values = x[..., :1] / levels.dry, _values(effect, x)
    for block in effect.blocks:
        places, weight, conv = _places(block), _weight(block), block.conv
        heard = convolve(_near(places, weight, signal), weight, conv.dilation)
        mean, std = jnp.mean(heard, axis=(0, 1)), jnp.std(heard, axis=(0, 1)) + 1e-6
        conv.weight[...], conv.bias[...] = conv.weight[...] / std[:, None, None], -mean / std
        gamma, beta = jnp.split(block.film_bias[...], 2)
        gamma, beta = (0.5 * jnp.sign(gamma), 0 * beta) if block is effect.blocks[-1] else (jnp.sign(gamma), beta)
        block.film_bias[...] = jnp.concatenate([gamma, beta]) - (values @ block.film_weight[...].T)[0]
        past = _through(block.residual[...].T, _late(places, signal))
        block.residual[...] = block.residual[...] * (SHARE / (jnp.std(past, axis=(0, 1)) + 1e-6))[:, None]
        signal = _block(block, signal, values, True)
    return levelled(effect, levels)


def levelled(effect, levels: Levels):
    """The same `SteerableTCN` between two gains, in its weights: what it hears over `dry`, what it answers by `wet`."""
    effect = nnx.clone(effect)
    first, last = effect.blocks[0], effect.blocks[-1]
    for weight in (first.conv.weight, first.residual):
        weight[...] = weight[...] / levels.dry
    for weight in (last.film_weight, last.film_bias, last.residual):
        weight[...] = weight[...] * levels.wet
    return effect


def rates(effect, levels: Levels):
    """How far a step moves each weight, `nnx.State` of numbers: as if the gains of `levelled` were outside of it."""
    structure, weights, rest = nnx.split(effect, nnx.Param, ...)
    ones = jax.tree.map(jnp.ones_like, weights)
    return nnx.split(levelled(nnx.merge(structure, ones, rest), levels), nnx.Param, ...)[1]


# --- what they answer -------------------------------------------------------------------------------------------------


def _blocks(effect, x, conditions, held):
    signal = x[..., :1]
    for block in effect.blocks:
        signal = _block(block, signal, conditions, held)
    return signal


def _block(block, signal, conditions, held):
    film = conditions @ block.film_weight[...].T + block.film_bias[...][None]
    gamma, beta = jnp.split(film[:, None], 2, axis=2)
    weight, conv, places = _weight(block), block.conv, _places(block)
    bias = jnp.zeros_like(beta[0]) if conv.bias is None else conv.bias[...][None]
    slope, residual = block.slope[...], block.residual[...].T
    if held:
        weight, bias = gamma[0, :, None] * weight, (gamma[0] * bias + beta[0])[0]
        return _held(places, signal, weight, bias, slope, residual)
    y = gamma * (convolve(_near(places, weight, signal), weight, conv.dilation) + bias[None]) + beta
    return _bent(y, slope) + _through(residual, _late(places, signal))


def _places(block):
    """Samples between taps, those that a block remembers, and how late its residual is."""
    return block.conv.dilation, block.lookback, block.residual_delay


def _weight(block):
    """A block's convolution, `[K, I, O]`, oldest tap first."""
    return block.conv.weight[...].transpose(2, 1, 0)


def _near(places, weight, x):
    """What of a block's input its convolution hears."""
    dilation, lookback, _ = places
    return x[:, lookback - (len(weight) - 1) * dilation :]


def _late(places, x):
    """The input as the residual hears it."""
    _, lookback, delay = places
    return x[:, lookback - delay : x.shape[1] - delay]


def _bent(y, slope):
    return jnp.maximum(y, 0) + slope[None, None] * jnp.minimum(y, 0)


def _through(weight, x):
    return x @ weight if weight.ndim == 2 else weight[None, None] * x


def _output(places, x, weight, bias, slope, residual) -> jax.Array:
    return _held_forward(places, x, weight, bias, slope, residual)[0]


def _held_forward(places, x, weight, bias, slope, residual):
    u = convolve(_near(places, weight, x), weight, places[0]) + bias[None, None]
    return _bent(u, slope) + _through(residual, _late(places, x)), (x, u, weight, slope, residual)


def _held_backward(places, saved, d_y):
    x, u, weight, slope, residual = saved
    dilation, lookback, delay = places
    late = _late(places, x)
    d_u = lax.optimization_barrier(d_y * jnp.where(u > 0, 1.0, slope[None, None]))
    d_slope = jnp.sum(d_y * jnp.minimum(u, 0), axis=(0, 1) if len(slope) > 1 else None).reshape(slope.shape)
    d_near, d_weight = _convolve_backward(_near(places, weight, x), weight, dilation, d_u)
    _, back = jax.vjp(_through, residual, late)
    d_residual, d_late = back(d_y)
    d_x = jnp.pad(d_near, ((0, 0), (x.shape[1] - d_near.shape[1], 0), (0, 0)))
    d_x = d_x + jnp.pad(d_late, ((0, 0), (lookback - delay, delay), (0, 0)))
    d_x = lax.optimization_barrier(d_x)
    return d_x, d_weight, jnp.sum(d_u, axis=(0, 1)), d_slope, d_residual


_held = jax.custom_vjp(_output, nondiff_argnums=(0,))
_held.defvjp(_held_forward, _held_backward)


def convolve(x, weight, dilation: int):
    """A dilated convolution without padding, `[B, L, I] -> [B, L - lookback, O]`; weight `[K, I, O]`, oldest first."""
    width, inputs, outputs = weight.shape
    length = x.shape[1] - (width - 1) * dilation
    if width * inputs <= NARROW:  # the library's own, and its derivative, are slow for few channels
        return _taps(x, width, dilation, length) @ weight.reshape(width * inputs, outputs)
    if outputs == 1:  # a product for all taps, then shifted sums
        each = x @ weight[..., 0].T
        parts = (each[:, k * dilation : k * dilation + length, k : k + 1] for k in range(width))
        return sum(parts, jnp.zeros((len(x), length, 1)))
    return lax.conv_general_dilated(x, weight, (1,), "VALID", rhs_dilation=(dilation,), dimension_numbers=PLAIN)


def _taps(x, width, dilation, length):
    """`[B, L, I] -> [B, T, K I]`: the signal at each tap."""
    return jnp.concatenate([x[:, k * dilation : k * dilation + length] for k in range(width)], axis=2)


def _convolve_backward(x, weight, dilation, d_y):
    """Gradients of a convolution in its signal and its weight."""
    width, inputs, outputs = weight.shape
    lookback, length = (width - 1) * dilation, d_y.shape[1]
    if outputs == 1 and inputs > 1:
        around = jnp.pad(d_y, ((0, 0), (lookback, lookback), (0, 0)))
        met = _taps(around, width, dilation, length + lookback)[..., ::-1]  # [B, L, K]: what each sample met
        return met @ weight[..., 0], jnp.einsum("bti,btk->ki", x, met)[..., None]
    d_x, d_weight = jax.vjp(partial(convolve, dilation=dilation), x, weight)[1](d_y)
    if inputs == 1:  # rows of taps need no transpose
        taps = jnp.stack([x[:, k * dilation : k * dilation + length].reshape(-1) for k in range(width)])
        d_weight = (taps @ d_y.reshape(-1, outputs))[:, None]
    return d_x, d_weight
