"""The SuperKnob with the real processes: taught, trained, swept, heard, and there again after a restart."""

from __future__ import annotations

import pytest

from rack import connect

from .test_whole import playing, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

RACKS = """
rack = "one"
[audio]
backend = "null"
[racks.one]
channels = 1
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
id = "tone"
type = "low_pass"
"""
EXAMPLES = ((0.0, -18.0, 800.0), (0.4, 12.0, 2000.0), (1.0, 0.0, 12000.0))


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "racks.toml").write_text(RACKS)
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    yield tmp_path
    connect.stop()


def test_three_examples_are_learned_and_one_knob_plays_them(home):
    with connect.start() as rack:
        knobs = {f"{slot.id}.{knob.name}": knob for slot in rack.view.slots for knob in slot.knobs}
        until(lambda: playing(rack), "the rack plays")
        for place, gain_db, cutoff_hz in EXAMPLES:
            rack.set("superknob", place)
            rack.set("gain.gain", gain_db)
            rack.set("tone.cutoff", cutoff_hz)
            rack.set("superknob.add", "")
        rack.set("superknob.train", "")
        until(lambda: rack.get("superknob.train") == "up to date", "it is trained")

        def standing(place):
            rack.set("superknob", place)
            return [knobs[key].position(rack.get(key)) for key in ("gain.gain", "tone.cutoff")]

        for place, gain_db, cutoff_hz in EXAMPLES:
            wanted = [knobs["gain.gain"].position(gain_db), knobs["tone.cutoff"].position(cutoff_hz)]
            assert standing(place) == pytest.approx(wanted, abs=0.01), "every example is met"
        sweep = [standing(i / 20) for i in range(21)]
        steps = [
            max(abs(b - a) for a, b in zip(one, two, strict=True)) for one, two in zip(sweep, sweep[1:], strict=False)
        ]
        assert 0 < max(steps) < 0.25, "both follow without a jump"
        assert all(b[1] >= a[1] - 0.01 for a, b in zip(sweep, sweep[1:], strict=False)), "and nothing wiggles between"
        standing(0.0)
        until(lambda: rack.telemetry().slots_db[0] < -20, "the engine plays what it says")
        standing(0.4)
        until(lambda: rack.telemetry().slots_db[0] > -6, "and follows")
    connect.stop()
    with connect.start() as rack:
        assert rack.get("superknob.train") == "up to date" and rack.get("superknob") == 0.4
        assert len(rack.get("superknob.status")["examples"]) == 3
