"""The map behind the pad: its shades, its words, and when the server is asked for it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rack.maps import MEASURES, SILENT_DB, Ground
from rack.ui.art import field
from rack.ui.art.surface import CHOICES, OFF, legend, surface
from rack.ui.widgets.xypad import XYPad

from .fake import lead
from .stage import stage


def plane(side=5, whole=False, loudness=lambda x, y: -40 + 20 * x, brightness=lambda x, y: 500 * 4**y,
          decay=lambda x, y: 0.05) -> Ground:  # fmt: skip
    """A map of closed forms; row by row from below."""
    places = [(x / (side - 1), y / (side - 1)) for y in range(side) for x in range(side)]
    values = [tuple(float(f(*place)) for place in places) for f in (loudness, brightness, decay)]
    return Ground(side, whole, *values)


def test_a_measure_is_a_height_where_equal_steps_sound_equal():
    loud, bright = surface(plane(), "loudness"), surface(plane(), "brightness")
    assert loud and bright and (loud.low, loud.high) == ("-40 dB", "-20 dB")
    assert (bright.low, bright.high) == ("500 Hz", "2.0 kHz")
    for x in (0.0, 0.3, 0.77, 1.0):
        assert loud.at(x, 0.4) == pytest.approx(x) and bright.at(0.4, x) == pytest.approx(x)  # octaves
    assert loud.at(-1, 2) == pytest.approx(0.0)  # outside: the edge
    decay = surface(plane(), "decay")
    assert decay and decay.flat and decay.at(0.5, 0.5) == pytest.approx(0.5) and decay.high == "50 ms"
    assert surface(plane(), OFF) is None and surface(Ground(), "loudness") is None


def test_silence_is_the_lowest_and_does_not_stretch_the_scale():
    found = surface(plane(loudness=lambda x, y: -120 if x == 0 else -40 + 20 * x), "loudness")
    assert found and (found.low, found.high) == ("-35 dB", "-20 dB")
    assert found.at(0.0, 0.5) == 0.0 and found.at(0.25, 0.5) > 0.1 and found.at(1.0, 0.5) == pytest.approx(1.0)
    silent = plane(loudness=lambda x, y: SILENT_DB - 10)
    assert all(surface(silent, name).at(0.5, 0.5) == 0.0 for name in MEASURES)  # type: ignore[union-attr]


def test_legends():
    found = surface(plane(), "loudness")
    assert legend(found, "loudness", True, False) == "loudness -40 dB .. -20 dB, lighter is louder"
    assert legend(found, "loudness", False, True) == "loudness -40 dB .. -20 dB, denser is louder, finer soon"
    assert legend(surface(plane(), "decay"), "decay", True, False) == "decay: about 50 ms everywhere"
    assert legend(None, "decay", False, False) == "decay: not drawn yet; lighter is nearer to the defaults"
    assert legend(None, OFF, False, False) == "lighter is nearer to the defaults"
    assert all(len(legend(None, name, False, False)) < 66 for name in CHOICES)  # fits beside the meters at 80 cells


def test_half_blocks_show_the_plane_upright():
    found = surface(plane(brightness=lambda x, y: 500 * 4 ** (x * y)), "brightness")
    assert found
    rows = field.shade(found.at, 20, 6)
    assert rows[0][-1][0] == field.LEVELS - 1 and rows[-1][-1] == (0, 0) and rows[0][0] == (0, 0)
    assert [top for top, _ in rows[0]] == sorted(top for top, _ in rows[0])


GOLDEN = """\
       ........:::::::++++
|  1   ........:::::::++++
+--    ......o.:::::::++++"""


async def test_the_map_is_asked_for_while_it_is_seen():
    async with stage() as s:
        await s.press("X")
        await s.until(lambda: s.server.subscriptions and s.server.subscriptions[-1].map, "a subscription")
        page = s.screen._pages["xy"]
        assert "loudness: not drawn yet" in str(page.border_subtitle)
        s.server.send(plane())
        await s.until(lambda: "er is louder, finer soon" in s.text and "loudness -40 dB .. -20 dB" in s.text)
        s.server.send(plane(17, True))
        await s.until(lambda: "finer" not in s.text)
        pad = s.app.focused
        assert isinstance(pad, XYPad)
        left, right = pad.draw(40, 10)[9][0], pad.draw(40, 10)[9][39]
        await s.press("g")
        await s.until(lambda: "brightness 500 Hz .. 2.0 kHz" in s.text)
        low, high = pad.draw(40, 10)[9][0], pad.draw(40, 10)[0][0]
        assert left == low != right == high  # glyphs or inks, as the terminal has colours
        await s.press("g", "g")
        await s.until(lambda: "nearer to the defaults" in s.text)
        await s.until(lambda: not s.server.subscriptions[-1].map, "the end of the subscription")
        await s.press("g", "R")
        await s.until(lambda: s.screen.page == "rack" and not s.server.subscriptions[-1].map)
        await s.press("X")
        await s.until(lambda: s.server.subscriptions[-1].map)


async def test_without_knobs_the_page_says_how_to_choose_them():
    async with stage(replace(lead(), xy=("", ""))) as s:
        await s.press("X")
        await s.until(lambda: "Tab, then Enter: choose the knobs" in s.text)


async def test_plain_characters_are_denser_where_it_is_louder():
    async with stage(glyphs="ascii") as s:
        await s.press("X")
        await s.until(lambda: isinstance(s.app.focused, XYPad))
        pad = s.app.focused
        assert isinstance(pad, XYPad)
        s.server.send(plane(17, True))
        await s.until(lambda: "denser is louder" in s.text)
        pad.show((0.0, 0.0))
        pad.show_marks((("1", (0.13, 0.5)),))
        drawn = "\n".join("".join(text for text, _ in row) for row in pad.draw(26, 3))
        assert drawn == GOLDEN
