"""Maps of the pad's plane: what is measured, by whom it is interrupted, what is kept, and what is ordered next."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from rack import protocol
from rack.config import Rack, Racks, Slot
from rack.examples import Lesson, SuperKnob
from rack.maps import MEASURES, SIDES, SIZE, Ground, Heard, Map, Mapped, MapPoint, cells, ground, next_row
from rack.protocol import BoxSpec, Build, Built, Failed
from rack.server.driving import super_view
from rack.server.state import World, begin
from rack.workshop import maps
from rack.workshop.build import Workshop

from .boxes import CATALOGUE
from .running import Running

RATE = 48000


@pytest.fixture(scope="module")
def gain(tmp_path_factory):
    """A workshop, and an order of the whole coarse map of a gain box along y."""
    folder = tmp_path_factory.mktemp("programs")
    built = Workshop(folder).order(Build(1, BoxSpec("gain"), 1, RATE, 64))
    assert isinstance(built, Built)
    axes = (None, (0, 0))
    return folder, Map(2, (Heard(built.program, built.arrays, (1.0, 0.5)),), axes, tuple(cells(5, axes)), 1, RATE, 64)


def test_a_gain_knob_is_louder_upwards_and_nothing_else(gain):
    folder, order = gain
    answer = Workshop(folder).order(order)
    assert isinstance(answer, Mapped) and len(answer.points) == 5
    points = sorted(answer.points, key=lambda point: point.row)
    assert np.diff([point.loudness for point in points]) == pytest.approx([12.0] * 4, abs=0.1)  # -24..24 dB
    assert np.ptp([point.brightness for point in points]) < 1.0 and 100 < points[0].brightness < 8000
    assert all(point.decay < 0.05 for point in points)
    found = ground({(point.column, point.row): point for point in answer.points}, order.axes)
    assert found.side == 5 and not found.whole and found.loudness[:5] == (points[0].loudness,) * 5


def test_another_order_goes_first_and_what_was_drawn_is_kept(gain):
    folder, order = gain
    order = replace(order, slots=(replace(order.slots[0], positions=(0.0, 0.5)),))  # bypassed: another map
    looks = iter(range(1000))
    interrupted = maps.draw(order, folder, lambda: next(looks) > 12)
    assert 0 < len(interrupted.points) < 5
    again = maps.draw(order, folder, lambda: True)
    assert set(again.points) == set(interrupted.points)
    whole = maps.draw(order, folder)
    assert len(whole.points) == 5 and set(again.points) < set(whole.points)
    assert len(list(folder.glob("*.map"))) == 2


def test_programs_that_are_gone_fail_in_words(gain, tmp_path):
    folder, order = gain
    (tmp_path / "x.program").write_bytes(b"nonsense")
    for name in ("x.program", "none.program"):
        slot = replace(order.slots[0], program=str(tmp_path / name))
        answer = Workshop(folder).order(replace(order, slots=(slot,)))
        assert isinstance(answer, Failed) and name in answer.error and answer.ticket == 2


def test_a_map_is_of_its_weights_and_of_the_knobs_that_stand_still():
    def key(digest="a", places=((1.0, 0.2, 0.7), (1.0, 0.5)), axes=((0, 1), (1, 0))):
        slots = tuple(Heard("/p/x.program", "/p/x.arrays", place) for place in places)
        order = Map(1, slots, axes, (), 1, RATE, 64)
        return maps._key(order, [maps.Loaded(lambda: None, (), (), 3, digest)] * 2)

    assert key() == key(places=((1.0, 0.2, 0.1), (1.0, 0.9)))  # where the pad's own knobs stand
    others = {key(), key("b"), key(places=((1.0, 0.3, 0.7), (1.0, 0.5))), key(places=((0.0, 0.2, 0.7), (1.0, 0.5))),
              key(axes=((0, 0), (1, 0))), key(axes=((0, 1), None))}  # fmt: skip
    assert len(others) == 6


@pytest.mark.parametrize("seconds", [0.2, 0.6, 4.0])
def test_decay_is_the_time_to_fall_by_60_db(seconds):
    noise = np.random.default_rng(0).normal(size=int(RATE * (0.4 + maps.TAIL_S)))
    ends = int(0.4 * RATE)
    tail = np.maximum(np.arange(len(noise)) - ends, 0) / RATE
    _, _, decay = maps.measured(0.1 * noise * 10 ** (-3 * tail / seconds), RATE, ends)
    assert decay == pytest.approx(seconds, rel=0.15)


def test_brightness_is_where_the_sound_lies_and_silence_has_none():
    t = np.arange(RATE) / RATE
    loudness, brightness, decay = maps.measured(0.5 * np.sin(2 * np.pi * 1000 * t), RATE, RATE // 2)
    assert brightness == pytest.approx(1000, rel=0.01) and loudness == pytest.approx(-8.3, abs=0.6)
    assert decay == maps.LONGEST_S  # a tone that does not end
    assert maps.measured(np.zeros(RATE), RATE, RATE // 2) == (-120.0, 0.0, 0.0)
    broken = maps.measured(np.full(RATE, np.nan), RATE, RATE // 2)
    assert broken == (-120.0, 0.0, 0.0)


@pytest.mark.parametrize("axes", [((0, 0), (0, 1)), (None, (0, 0)), ((0, 0), None)])
def test_rows_come_coarse_first_and_every_point_once(axes):
    known: dict[tuple[int, int], MapPoint] = {}
    sides, rows = [], 0
    while row := next_row(known, axes):
        assert not known.keys() & set(row) and len({cell[1] for cell in row}) == 1
        known |= {cell: MapPoint(*cell, *map(float, (cell[0], cell[1], 1))) for cell in row}
        side, rows = ground(known, axes).side, rows + 1
        if side and side not in sides:
            sides.append(side)
        assert rows < 60
    assert tuple(sides) == SIDES and set(known) == set(cells(SIZE, axes))
    whole = ground(known, axes)
    assert whole.whole and all(len(getattr(whole, name)) == SIZE * SIZE for name in MEASURES)
    assert whole.loudness[1] == (1.0 if axes[0] else 0.0) and whole.brightness[SIZE] == (1.0 if axes[1] else 0.0)
    assert ground({}, axes) == Ground()


# --- the server ---

RACKS = """\
rack = "one"
[racks.one]
channels = 1
xy = { x = "low_pass.cutoff", y = "delay.feedback" }
[[racks.one.slots]]
type = "gain"
[[racks.one.slots]]
type = "low_pass"
[[racks.one.slots]]
type = "drive"
[[racks.one.slots]]
type = "delay"
"""


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path / "home", RACKS)
    yield running
    running.stop()


@pytest.mark.engine
def test_a_client_that_looks_gets_the_map_and_another_sound_another_one(running):
    client = running.start()
    assert not running.lines("workshop", "Map")  # nobody looks yet
    client.send(protocol.Subscribe(0.0, map=True))
    whole = client.receive(Ground, lambda ground: ground.whole)
    sides = [message.side for message in client.heard if isinstance(message, Ground)]
    assert sides == [0, *SIDES] and whole.loudness[:17] == tuple(-40.0 + x for x in range(17))
    orders = running.lines("workshop", "Map")
    first = orders[0]
    assert [slot["program"].rpartition("/")[2] for slot in first["slots"]] == ["low_pass-64", "drive-64", "delay-64"]
    assert first["axes"] == [[0, 0], [2, 1]] and len(first["cells"]) == 5
    assert client.set("xy", [0.3, 0.9]) == ""  # the pad itself: the same map
    assert client.set("low_pass.q", 0.2) == ""  # another knob: the old map stays until the new one is drawn
    client.receive(Ground, lambda ground: ground.whole)
    again = [message.side for message in client.heard if isinstance(message, Ground)][len(sides) :]
    assert again == list(SIDES) and len(running.lines("workshop", "Map")) == 2 * len(orders)
    assert client.set("xy.y", "delay.time") == ""
    client.receive(Ground, lambda ground: ground.side == 0)  # that one shows nothing true any more
    client.receive(Ground, lambda ground: ground.whole)
    for axis in ("xy.x", "xy.y"):
        assert client.set(axis, "") == ""
    client.receive(Ground, lambda ground: ground.side == 0)


def test_examples_of_the_superknob_have_their_place_on_the_pad():
    lessons = (
        Lesson("dark", (0.0,), {"low_pass.cutoff": 50.0, "delay.mode": "dark", "low_pass.q": 0.3}),
        Lesson("open", (0.5,), {"low_pass.cutoff": 1000.0, "delay.mode": "tape"}),
        Lesson("elsewhere", (1.0,), {"low_pass.q": 0.3}),
        Lesson("of another model", (0.9,), {"low_pass.cutoff": 1e9, "delay.mode": "tape"}),
    )
    row = (Slot("low_pass", "low_pass"), Slot("delay", "delay"))
    world = World(CATALOGUE)

    def on_pad(*xy: str):
        rack = Rack(slots=row, xy=(xy[0], xy[1]), superknob=SuperKnob(lessons=lessons))
        return super_view(begin(Racks("one", racks={"one": rack})), world).on_pad

    assert on_pad("low_pass.cutoff", "delay.mode") == ((0.0, 1.0), (0.5, 0.0), None, None)
    assert on_pad("low_pass.q", "low_pass.cutoff")[0] == (pytest.approx(0.2222, abs=1e-3), 0.0)
    assert on_pad("", "delay.mode") == ()
