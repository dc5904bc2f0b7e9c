"""Nonlinearities by name: elementwise, shapes unchanged.

`ACTIVATIONS` are those of random networks. `Activation` is one of NAM's, which may have parameters, on `[C, T]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


def fast_tanh(x):
    """NAM's rational approximation of tanh, within 1e-3 or so; what its plug-in plays for every Tanh."""
    a, square = jnp.abs(x), x * x
    above = 2.45550750702956 + 2.45550750702956 * a + (0.893229853513558 + 0.821226666969744 * a) * square
    below = 2.44506634652299 + (2.44506634652299 + square) * jnp.abs(x + 0.814642734961073 * x * a)
    return x * above / below


def _sloped(x, slope):
    return jnp.where(x > 0, x, slope * x)


def _leaky_hardtanh(x, low, high, low_slope, high_slope):
    inside = jnp.clip(x, low, high)
    return inside + low_slope * jnp.minimum(x - low, 0) + high_slope * jnp.maximum(x - high, 0)


_LEAKY_HARDTANH = {"min_val": -1.0, "max_val": 1.0, "min_slope": 0.01, "max_slope": 0.01}
NAM_ACTIVATIONS: dict[str, tuple[Callable, dict[str, float]]] = {
    # type: the function, and its parameters in order with the values that they have where a file is silent
    "Tanh": (jnp.tanh, {}),
    "Hardtanh": (lambda x: jnp.clip(x, -1, 1), {}),
    "Fasttanh": (fast_tanh, {}),
    "ReLU": (jax.nn.relu, {}),
    "LeakyReLU": (_sloped, {"negative_slope": 0.01}),
    "PReLU": (_sloped, {"negative_slope": 0.01}),
    "Sigmoid": (jax.nn.sigmoid, {}),
    "SiLU": (jax.nn.silu, {}),
    "Hardswish": (lambda x: x * jnp.clip(x + 3, 0, 6) / 6, {}),
    "LeakyHardtanh": (_leaky_hardtanh, _LEAKY_HARDTANH),
    "LeakyHardTanh": (_leaky_hardtanh, _LEAKY_HARDTANH),
    "Softsign": (lambda x: x / (1 + jnp.abs(x)), {}),
}


@dataclass(frozen=True)
class Activation:
    """One of NAM's activations: its type and its parameters, in the order of the table; hashable.

    A PReLU may have `slopes`, one a channel, instead of its parameter. Source: NeuralAmpModelerCore, activations.h.
    """

    type: str
    parameters: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()

    @classmethod
    def read(cls, value: Any) -> Activation:
        """From a file: a name, or an object of `type` and parameters. Raises ValueError saying what is wrong."""
        given = {"type": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            raise ValueError("must be a name or an object with a type")
        kind = given["type"]
        if kind not in NAM_ACTIVATIONS:
            raise ValueError(f"{kind[:40]!r} is none of {', '.join(NAM_ACTIVATIONS)}")
        slopes = given.get("negative_slopes") if kind == "PReLU" else None
        if slopes is not None:
            if not isinstance(slopes, list) or not slopes:
                raise ValueError("negative_slopes must be a list of numbers")
            return cls(kind, (), tuple(_number("negative_slopes", slope) for slope in slopes))
        defaults = NAM_ACTIVATIONS[kind][1]
        return cls(kind, tuple(_number(key, given.get(key, value)) for key, value in defaults.items()))

    def written(self) -> str | dict[str, Any]:
        """As it stands in a file: what `read` takes."""
        if self.slopes:
            return {"type": self.type, "negative_slopes": list(self.slopes)}
        keys = NAM_ACTIVATIONS[self.type][1]
        return {"type": self.type, **dict(zip(keys, self.parameters, strict=True))} if keys else self.type

    def __call__(self, x):
        if self.slopes:
            return _sloped(x, jnp.asarray(np.array(self.slopes, np.float32)[:, None]))
        return NAM_ACTIVATIONS[self.type][0](x, *self.parameters)


def _number(key: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e6:
        raise ValueError(f"{key} must be a number")
    return float(value)
