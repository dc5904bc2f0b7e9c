"""The spectra that a run shows: a band is where its sine is, as loud as it is."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import spectrum


@pytest.mark.parametrize(("hz", "rate"), [(100.0, 44100), (1000.0, 48000), (15000.0, 48000)])
def test_a_sine_is_in_its_band_and_twice_as_much_is_6_db_more(hz, rate):
    x = 0.1 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)
    found, middles = np.array(spectrum.bands(x, rate)), np.array(spectrum.centres(rate))
    assert abs(np.log2(middles[np.argmax(found)] / hz)) < 0.2
    louder = np.array(spectrum.bands(2 * x, rate))
    assert np.max(louder - found) == pytest.approx(6.02, abs=0.02) and len(found) == len(middles) == spectrum.BANDS
    assert max(spectrum.bands(np.zeros(100), rate)) == spectrum.SILENT_DB, "shorter than a frame, and silent"
