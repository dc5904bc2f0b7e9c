"""Steps as one kernel: what keeps the audio callback from waiting for anybody.

XLA's CPU runtime calls one kernel an operation, and hands some to threads of its own when many are ready; the callback
then waits for a thread that may not run for a while. A small loop is compiled as one kernel, whatever its body does;
so a step goes into a loop that runs once (`xla.for_programs` sets how large a small loop may be).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxprs_in_params

LARGE_PRODUCT = 1 << 16  # multiplications; a larger product of matrices is better off in the library


def as_one_loop(step, states, x):
    """`step(states, x) -> (states, y, rest)`, the same answer, as a loop that runs once; y is shaped as x."""
    once = (x[0, 0] < jnp.inf).astype(jnp.int32)  # which the compiler cannot know; it would dissolve the loop
    rest = jax.tree.map(lambda out: jnp.zeros(out.shape, out.dtype), jax.eval_shape(step, states, x)[2])

    def body(carry):
        count, states, signal, _ = carry
        return count + 1, *step(states, signal)

    return lax.while_loop(lambda carry: carry[0] < once, body, (jnp.int32(0), states, x, rest))[1:]


def has_large_product(step, *args) -> bool:
    """Whether a step multiplies matrices worth a call of the library, which there is none of inside a small loop."""
    return _has_large_product(jax.make_jaxpr(step)(*args).jaxpr)


def _has_large_product(jaxpr) -> bool:
    """Whether any product of matrices in it, at whatever depth, is worth a library call."""
    for equation in jaxpr.eqns:
        if equation.primitive is lax.dot_general_p:
            (contracted, _), (batched, _) = equation.params["dimension_numbers"]
            left, right = (variable.aval.shape for variable in equation.invars)
            shared = math.prod(left[axis] for axis in contracted)
            batch = math.prod(left[axis] for axis in batched)
            rows, columns = (math.prod(shape) // (shared * batch) for shape in (left, right))
            if min(rows, shared, columns) > 1 and rows * shared * columns > LARGE_PRODUCT:
                return True
        if any(_has_large_product(inner) for inner in jaxprs_in_params(equation.params)):
            return True
    return False
