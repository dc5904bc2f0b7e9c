"""Fourier transforms as products: numpy's, to float32's rounding."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmodels.dsp.fourier import irfft_end, rfft


@pytest.mark.parametrize("samples", [32, 64, 512])
@pytest.mark.parametrize("channels", [1, 2])
def test_there_and_back(samples, channels):
    x = np.random.default_rng(samples).uniform(-1, 1, (channels, samples))
    want = np.fft.rfft(x)
    re, im = np.asarray(rfft(np.float32(x)))
    np.testing.assert_allclose(re + 1j * im, want, rtol=0, atol=2e-6 * np.abs(want).max())
    back = irfft_end(np.stack([want.real, want.imag]).astype(np.float32))
    np.testing.assert_allclose(back, x[:, samples // 2 :], rtol=0, atol=1e-6)
