"""A and B equally loud: what is measured, what is turned down, and the slot that does it."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from rack.server import planned
from rack.server.loudness import ENOUGH_S, Side
from rack.server.state import trim_db, view

from .test_teach import START, WORLD, at, run

RATE = 48000


def heard(side, gain_db, seconds, level=0.1, trim=0.0, seed=0):
    """A rack with this gain plays noise, turned down by `trim` in the end."""
    x = level * np.random.default_rng(seed).normal(size=int(RATE * seconds)).astype(np.float32)
    y = x * np.float32(10 ** ((gain_db + trim) / 20))
    for i in range(0, len(x), 2880):
        side.hear(np.stack([x, y], axis=1)[i : i + 2880], RATE, trim)
    return side


def test_a_side_is_as_loud_as_what_it_makes_of_its_input():
    assert heard(Side(), 6.0, 2.0).level_db == pytest.approx(6.0, abs=0.01)
    assert heard(Side(), 6.0, 2.0, level=0.01).level_db == pytest.approx(6.0, abs=0.01), "however soft the music is"
    assert heard(Side(), 6.0, 2.0, trim=-9.0).level_db == pytest.approx(6.0, abs=0.01), "whatever it is trimmed by"


def test_too_little_silence_and_broken_numbers_say_nothing():
    assert heard(Side(), 6.0, ENOUGH_S / 2).level_db is None and heard(Side(), 6.0, 3.0, level=0.0).level_db is None
    side = heard(Side(), 6.0, 2.0)
    side.hear(np.full((480, 2), np.nan, np.float32), RATE, 0.0)
    assert side.level_db == pytest.approx(6.0, abs=0.01)
    side.changed()
    assert heard(side, -6.0, 4.0).level_db == pytest.approx(-4.7, abs=0.1), "a change counts more than what was before"


def test_the_louder_one_is_turned_down_at_the_moment_of_the_change():
    state = run(START, ("drive.drive", 12.0), ("compare", "B"), ("compare.match", "on"))
    assert at(state, "compare.match") is True and trim_db(state) == 0.0, "nothing is known yet"
    state = replace(state, levels_db={"A": 3.0, "B": -4.0})
    assert trim_db(state) == 0.0 and trim_db(run(state, ("compare", "A"))) == -7.0
    assert view(run(state, ("compare", "A")), WORLD).trim_db == -7.0
    assert trim_db(run(state, ("compare", "A"), ("compare.match", "off"))) == 0.0
    assert trim_db(replace(run(state, ("compare", "A")), levels_db={"A": 60.0, "B": 0.0})) == -24.0


def test_a_slot_before_the_limiter_does_it_and_is_there_only_then():
    state = replace(run(START, ("compare.match", True)), levels_db={"A": 3.0, "B": -4.0})
    rows = planned.wanted(state, WORLD)
    assert [row.id for row in rows][-2:] == [planned.MATCH_ID, ""]
    assert rows[-2].targets == (1.0, pytest.approx((24 - 7) / 48))
    asleep = planned.wanted(run(state, ("bypass", True)), WORLD)
    assert asleep[-2].targets == rows[-2].targets, "it works on a bypassed rack, too"
    assert planned.MATCH_ID not in [row.id for row in planned.wanted(START, WORLD)]
    assert planned.structure(state) != planned.structure(replace(state, match=False))
    assert planned.structure(state) == planned.structure(replace(state, levels_db={}))
