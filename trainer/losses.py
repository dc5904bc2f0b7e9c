"""Losses of the recurrent captures: error-to-signal ratio and its parts.

Source: Wright, Damskägg and Välimäki, DAFx 2019, as CoreAudioML computes them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Signal = Float[Array, "*batch T"]


def esr(target: Signal, output: Signal):
    """Error energy over target energy, over everything given; 0 is perfect, 1 is as bad as silence."""
    return jnp.mean((target - output) ** 2) / (jnp.mean(target**2) + 1e-5)


def dc(target: Signal, output: Signal):
    """Squared difference of the means over time, over target energy."""
    difference = jnp.mean(target, axis=-1) - jnp.mean(output, axis=-1)
    return jnp.mean(difference**2) / (jnp.mean(target**2) + 1e-5)


def pre_emphasis(x: Signal, coefficient: float = 0.85):
    """First-order high-pass `x[n] - 0.85 x[n - 1]` with a zero before the first sample."""
    return x - coefficient * jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)


def capture_loss(target: Signal, output: Signal):
    """0.75 of the pre-emphasised ESR and 0.25 of the DC term: what the captures of the literature minimise."""
    return 0.75 * esr(pre_emphasis(target), pre_emphasis(output)) + 0.25 * dc(target, output)
