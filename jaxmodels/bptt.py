"""Recurrent networks in batches, with a quick derivative: what training runs instead of `step`.

A step for one stream and a step for a batch want to be written differently. Here the inputs' share of all gates of a
stretch is one product, and so is each weight's gradient; only what depends on the sample before is inside the scan.
The derivative keeps nothing of a stretch but the state that it starts from: what lies between is computed again, a
stretch at a time, so that all of it stays in the cache (ten times as quick as the derivative of the scan itself).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from . import rational
from .recurrent import GRU, LSTM, _gru_cell, _lstm_cell, _nonlinear

STRETCH = 32  # samples; a longer block is cut into so long ones and a rest

State = Float[Array, "B L S H"]
CELLS = {LSTM: _lstm_cell, GRU: _gru_cell}


@jax.custom_jvp
def _tanh(x):
    """With a derivative made of its value, which needs no second polynomial."""
    return rational.tanh(x)


@_tanh.defjvp
def _tanh_jvp(primals, tangents):
    y = rational.tanh(*primals)
    return y, (1 - y * y) * tangents[0]


EXACT = _tanh, lambda x: 0.5 * _tanh(0.5 * x) + 0.5  # tanh and sigmoid


def initial_states(network: LSTM | GRU, batch: int) -> State:
    """The network's first state, once for each of a batch."""
    one = network.initial_state()
    return jnp.broadcast_to(one[None], (batch, *one.shape))


def forward(network, state: State, x: Float[Array, "B T I"]) -> tuple[Float[Array, "B T 1"], State]:
    """A block of each of B signals; the inputs are the audio and the knobs' values side by side.

    Answers what `step` does for each of them on its own, and the states after the block.
    """
    functions = _nonlinear(network) if network.settings.fast_tanh else EXACT
    signal, after = x.transpose(1, 0, 2), []
    for n, layer in enumerate(network.layers):
        bias_hn = None if layer.bias_hn is None else layer.bias_hn[...][None]
        weights = layer.weight_ih[...], layer.weight_hh[...], layer.bias[...], bias_hn
        before = tuple(state[:, n, i] for i in range(network.states))
        last, signal = _layer((CELLS[type(network)], *functions), weights, before, signal)
        after.append(jnp.stack(last, axis=1))
    y = signal @ network.head[...]
    if network.head_bias is not None:
        y = y + network.head_bias[...][None, None]
    y = y.transpose(1, 0, 2)
    return y + x[..., :1] if network.settings.skip else y, jnp.stack(after, axis=1)


def _layer(maths, weights, state: tuple, x):
    """One layer over `[T, B, I]` of any length: the state after it, and all hidden states `[T, B, H]`."""
    length = len(x)
    whole = length - length % STRETCH
    parts = []
    for part, stretch in ((x[:whole], STRETCH), (x[whole:], length - whole)):
        if len(part):
            state, hidden = _run(maths, stretch, weights, state, part)
            parts.append(hidden)
    return tuple(state), parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _cell(maths, bias_hn, state, z, u):
    """The state after a sample; `z` is the input's share of the gates, `u` the hidden state's."""
    cell, tanh, sigmoid = maths
    return cell(state, z, lambda start, _: start + u, bias_hn, tanh, sigmoid, axis=-1)[0]


def _shares(weights, x):
    weight_ih, _, bias, _ = weights
    return x @ weight_ih + bias[None, None]


def _cut(signal, stretch):
    return signal.reshape(-1, stretch, *signal.shape[1:])


def _joined(cut):
    return cut.reshape(-1, *cut.shape[2:])


def _output(maths, stretch, weights, state, x) -> tuple:
    return _run_forward(maths, stretch, weights, state, x)[0]


def _run_forward(maths, stretch, weights, state, x):
    _, weight_hh, _, bias_hn = weights

    def one(state, z):
        state = _cell(maths, bias_hn, state, z, state[0] @ weight_hh)
        return state, state[0]

    def over(state, part):
        after, hidden = lax.scan(one, state, _shares(weights, part))
        return after, (state, hidden)

    cut = _cut(x, stretch)
    after, (starts, hidden) = lax.scan(over, state, cut)
    return (after, _joined(hidden)), (weights, starts, cut)


def _run_backward(maths, stretch, saved, gradients):
    weights, starts, cut = saved
    weight_ih, weight_hh, _, bias_hn = weights
    d_last, d_hidden = gradients

    def again(state, z):
        u = state[0] @ weight_hh
        return _cell(maths, bias_hn, state, z, u), (state, z, u)

    def one(carry, sample):
        d_state, d_bias_hn = carry
        d_h, state, z, u = sample
        _, pull = jax.vjp(partial(_cell, maths), bias_hn, state, z, u)
        more, before, d_z, d_u = pull((d_state[0] + d_h, *d_state[1:]))
        d_state = (before[0] + d_u @ weight_hh.T, *before[1:])
        return (d_state, jax.tree.map(jnp.add, d_bias_hn, more)), (d_z, d_u)

    def over(carry, part):
        d_state, (d_ih, d_hh, d_bias, d_bias_hn) = carry
        start, x, d_h = part
        _, (states, z, u) = lax.scan(again, start, _shares(weights, x))
        (d_state, d_bias_hn), (d_z, d_u) = lax.scan(one, (d_state, d_bias_hn), (d_h, states, z, u), reverse=True)
        d_ih = d_ih + jnp.einsum("tbi,tbg->ig", x, d_z)
        d_hh = d_hh + jnp.einsum("tbh,tbg->hg", states[0], d_u)
        return (d_state, (d_ih, d_hh, d_bias + d_z.sum((0, 1)), d_bias_hn)), d_z @ weight_ih.T

    zeros = jax.tree.map(jnp.zeros_like, weights)
    (d_state, d_weights), d_x = lax.scan(over, (d_last, zeros), (starts, cut, _cut(d_hidden, stretch)), reverse=True)
    return d_weights, d_state, _joined(d_x)


_run = jax.custom_vjp(_output, nondiff_argnums=(0, 1))
_run.defvjp(_run_forward, _run_backward)
