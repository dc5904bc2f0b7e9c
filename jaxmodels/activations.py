"""The nonlinearities of random networks, by name: elementwise, shapes unchanged."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

RRELU_MEAN_SLOPE = (1 / 8 + 1 / 3) / 2  # PyTorch's randomised leaky ReLU when it is not training
SHRINK = 0.5  # PyTorch's softshrink

ACTIVATIONS: dict[str, Callable] = {
    "linear": lambda x: x,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "rrelu": lambda x: jax.nn.leaky_relu(x, RRELU_MEAN_SLOPE),
    "softplus": jax.nn.softplus,
    "softshrink": lambda x: x - jnp.clip(x, -SHRINK, SHRINK),
    "sine": jnp.sin,
    "sine30": lambda x: jnp.sin(30 * x),
}
