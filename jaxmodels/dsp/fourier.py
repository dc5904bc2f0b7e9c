"""Fourier transforms of real signals as products of matrices, for the inside of a program that is one kernel.

XLA hands an FFT to a library, and a loop that calls one is no longer compiled as a whole: everything beside it goes to
the runtime operation by operation, and to other threads. A transform of N = 16 M samples in two steps (Cooley and
Tukey, 1965) multiplies by matrices of 16 and M: at N = 512, there and back, 370 times for each of 256 new samples.
"""

from __future__ import annotations

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..convolution import product

ROOTS = 16  # of the first step

Spectrum = Float[Array, "2 C N/2+1"]  # real and imaginary parts


def rfft(x: Float[Array, "C N"]) -> Spectrum:
    """The spectrum of each of C real signals, as `numpy.fft.rfft`; N is a multiple of 32."""
    return jnp.stack([_forward(row) for row in x], axis=1)


def irfft_end(spectrum: Spectrum) -> Float[Array, "C N/2"]:
    """The second half of each of the signals that have these spectra, as `numpy.fft.irfft`."""
    return jnp.stack([_backward(spectrum[:, n]) for n in range(spectrum.shape[1])])


# Sample n = M a + b, bin k = r + 16 s, so that exp(2 pi i n k / N) is the product of exp(2 pi i a r / 16),
# exp(2 pi i b r / N) and exp(2 pi i b s / M): a step over a, a twist, and a step over b; backwards over s and r.


def _forward(x: Float[Array, " N"]) -> Float[Array, "2 N/2+1"]:
    over_a, twist, over_b, _, _ = _matrices(len(x))
    re, im = product(over_a, x.reshape(ROOTS, -1)).reshape(2, ROOTS, -1)  # [r, b]
    twisted = jnp.concatenate([re * twist[0] + im * twist[1], im * twist[0] - re * twist[1]], axis=1)
    return product(twisted, over_b).T.reshape(2, -1)[:, : len(x) // 2 + 1]  # [s, r]


def _backward(spectrum: Float[Array, "2 N/2+1"]) -> Float[Array, " N/2"]:
    _, twist, over_b, over_r, scale = _matrices(2 * (spectrum.shape[1] - 1))
    padded = jnp.pad(spectrum, ((0, 0), (0, ROOTS - 1))).reshape(2, -1, ROOTS) * scale  # [s, r]
    re, im = product(padded.reshape(-1, ROOTS).T, over_b.T).reshape(ROOTS, 2, -1).swapaxes(0, 1)  # [r, b]
    twisted = jnp.concatenate([re * twist[0] - im * twist[1], im * twist[0] + re * twist[1]])
    return product(over_r, twisted).reshape(-1)  # [a, b]


@cache
def _matrices(samples: int) -> tuple[np.ndarray, ...]:
    """Of a transform: the step over a, the twist, the step over b or s, the one over r, and what a bin counts for."""
    rows = samples // ROOTS
    a, b, r, s = np.arange(ROOTS), np.arange(rows), np.arange(ROOTS), np.arange(rows // 2 + 1)
    re, im = _turns(r, a, ROOTS)
    over_a = np.concatenate([re, -im])
    over_r = over_a[:, ROOTS // 2 :].T
    twist = np.stack(_turns(r, b, samples))
    re, im = _turns(b, s, rows)
    over_b = np.block([[re, -im], [im, re]])
    scale = np.full((1, len(s), ROOTS), 2 / samples)
    scale[0, [0, -1], 0] = 1 / samples  # the first and the last bin have no mirror
    return tuple(matrix.astype(np.float32) for matrix in (over_a, twist, over_b, over_r, scale))


def _turns(left: np.ndarray, right: np.ndarray, period: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of each product of the two in turns of a period."""
    angles = 2 * np.pi * np.outer(left, right) / period
    return np.cos(angles), np.sin(angles)
