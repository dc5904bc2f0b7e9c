"""Gain and level, in decibels."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmodels.boxes import make
from jaxmodels.effect import apply, positions


@pytest.mark.parametrize(("kind", "db"), [("gain", -24.0), ("gain", 6.0), ("level", -30.0), ("level", 12.0)])
def test_decibels(kind, db):
    box = make(kind)
    y = apply(box, np.full(8, 0.1, np.float32), positions(box, {kind: db}))
    np.testing.assert_allclose(y, 0.1 * 10 ** (db / 20), rtol=1e-5)


def test_level_is_silent_at_the_bottom():
    box = make("level", channels=2)
    x = np.ones((8, 2), np.float32)
    assert not np.any(apply(box, x, positions(box, {"level": -60.0})))
    np.testing.assert_allclose(apply(box, x, positions(box, {"level": -59.9})), 10 ** (-59.9 / 20), rtol=1e-4)
    np.testing.assert_allclose(apply(box, x), x, rtol=1e-6)
