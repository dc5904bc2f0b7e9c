"""Drawings: goldens as plain text, and what holds for every value, size and set of characters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rack.ui.art import bars, field, glyphs, look
from rack.ui.art.canvas import Canvas, envelope, trace, trigger
from rack.ui.art.knob import BIG, LIT, POINTER, SMALL, TRACK, frame, knob, slider
from rack.ui.art.text import clip, clip_start, clock, cut, label, length, merge, short, shorten, spread

TIERS = {name: glyphs.choose(name, {}) for name in glyphs.TIERS}
positions = st.floats(0, 1)


def picture(size, value, bipolar=False, tier="unicode") -> list[str]:
    return ["".join(glyph for glyph, _ in row) for row in knob(size, frame(value), bipolar, TIERS[tier])]


GOLDEN = {
    ("unicode", BIG, 0.0, False): [" ⡠⠖⠋⠉⠙⠲⢄ ", "⡜⠁     ⠈⢣", "⡇  ⡠    ⢸", "⠘⡆⠈    ⢰⠃"],
    ("unicode", BIG, 0.5, False): [" ⣠⡶⠛⢛⠙⠲⢄ ", "⣼⠋  ⢸  ⠈⢣", "⣿⡀      ⢸", "⠘⡷     ⢰⠃"],
    ("unicode", BIG, 1.0, False): [" ⣠⡶⠛⠛⠛⢶⣄ ", "⣼⠋     ⠙⣧", "⣿⡀   ⢄ ⢀⣿", "⠘⡷    ⠁⢾⠃"],
    ("unicode", BIG, 0.5, True): [" ⡠⠖⠋⢉⠙⠲⢄ ", "⡜⠁  ⢸  ⠈⢣", "⡇       ⢸", "⠘⡆     ⢰⠃"],
    ("unicode", SMALL, 0.25, False): ["⣰⠋⠉⠙⢆", "⣿⡈⠑ ⣸"],
    ("unicode", SMALL, 1.0, False): ["⣰⠟⠛⠻⣆", "⣿⡀⠐⢄⣿"],
    ("compat", BIG, 0.0, False): [" ╭─────╮ ", "╭╯     ╰╮", "│   ·   │", "╰╮ ╱   ╭╯"],
    ("compat", BIG, 0.5, False): [" ┏━━━──╮ ", "┏┛  │  ╰╮", "┃   ·   │", "┗┓     ╭╯"],
    ("compat", BIG, 1.0, False): [" ┏━━━━━┓ ", "┏┛     ┗┓", "┃   ·   ┃", "┗┓   ╲ ┏┛"],
    ("compat", SMALL, 0.5, False): ["┏━━─╮", "╹ │ ╵"],
    ("ascii", BIG, 0.5, False): [" #===--. ", "#   |   \\", "#   .   |", "#       /"],
    ("ascii", SMALL, 1.0, False): ["#===#", "#  \\#"],
}


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_knob_goldens(case):
    tier, size, value, bipolar = case
    assert picture(size, value, bipolar, tier) == GOLDEN[case]


@given(positions, st.sampled_from([BIG, SMALL]), st.booleans(), st.sampled_from(glyphs.TIERS))
def test_a_knob_fills_exactly_its_cells(value, size, bipolar, tier):
    rows = knob(size, frame(value), bipolar, TIERS[tier])
    assert len(rows) == size[1]
    for row in rows:
        assert [cell_len(glyph) for glyph, _ in row] == [1] * size[0]
    assert any(layer == POINTER for row in rows for _, layer in row)


@given(positions, positions, st.sampled_from([BIG, SMALL]), st.sampled_from(glyphs.TIERS))
def test_more_is_lit_the_further_it_is_turned(a, b, size, tier):
    lit = [sum(layer == LIT for row in knob(size, frame(v), False, TIERS[tier]) for _, layer in row) for v in (a, b)]
    # The pointer covers a cell or two of the ring that is not lit.
    assert (lit[0] <= lit[1] + 2) if a <= b else (lit[1] <= lit[0] + 2)


def test_a_big_knob_tells_small_steps_apart_and_repeats_equal_ones():
    frames = {tuple(picture(BIG, i / 1000)) for i in range(1001)}
    assert len(frames) > 60
    assert picture(BIG, 0.5) == picture(BIG, 0.5 + 0.1 / 256)


@pytest.mark.parametrize("tier", glyphs.TIERS)
def test_lit_and_unlit_differ_in_their_characters(tier):
    """So that they are told apart without colours."""
    full, empty = picture(BIG, 1.0, tier=tier), picture(BIG, 0.0, tier=tier)
    assert sum(a != b for f, e in zip(full, empty, strict=True) for a, b in zip(f, e, strict=True)) >= 12


@given(positions, st.integers(3, 60), st.booleans(), st.sampled_from(glyphs.TIERS))
def test_a_slider_is_as_wide_as_asked(value, width, bipolar, tier):
    cells = slider(value, width, bipolar, TIERS[tier])
    assert len(cells) == width and sum(layer == POINTER for _, layer in cells) == 1
    assert {layer for _, layer in cells} <= {TRACK, LIT, POINTER}


def test_the_meter_scale():
    heights = [bars.height_of(level) for level in (-120, -70, -60, -50, -40, -30, -20, 0, 6)]
    assert heights == pytest.approx([0, 0, 0.025, 0.075, 0.15, 0.30, 0.50, 1.0, 1.0])


@given(st.floats(-130, 10), st.floats(-130, 10), st.integers(4, 40), st.sampled_from(glyphs.TIERS))
def test_a_meter_column_has_one_cell_a_row_and_rises(level, other, rows, tier):
    cells = bars.column(level, max(level, other), rows, TIERS[tier])
    assert len(cells) == rows and all(cell_len(glyph) == 1 for glyph, _, _ in cells)
    blank = [glyph == " " or held for glyph, _, held in cells]
    assert blank == sorted(blank, reverse=True)  # nothing empty below something full
    assert sum(held for _, _, held in cells) <= 1


def test_meter_ticks_keep_a_row_between_them():
    for rows in range(6, 50):
        at = sorted(bars.ticks(rows))
        assert all(b - a > 1 for a, b in zip(at, at[1:], strict=False)) and 0 in at


@pytest.mark.parametrize(
    ("level", "text"), [(-120.0, "-inf"), (-3.14, "-3.1"), (-12.2, "-12"), (0.42, "+0.4"), (-9.97, "-10")]
)
def test_peak_numbers(level, text):
    assert bars.peak(level) == text


def test_canvas_cells():
    canvas = Canvas(2, 1, glyphs.UNICODE)
    canvas.dot(0, 0, 1)
    canvas.dot(1, 3, 2)
    canvas.dot(9, 9, 3)  # outside
    assert canvas.rows() == [[(chr(0x2800 + 0x01 + 0x80), 2), (" ", 0)]]
    halves = Canvas(2, 1, glyphs.COMPAT)
    halves.dot(0, 0, 1)
    halves.column(1, 0, 1, 1)
    assert [glyph for glyph, _ in halves.rows()[0]] == ["▀", "█"]


def test_a_trace_has_no_gaps_and_stays_inside():
    canvas = Canvas(20, 6, glyphs.UNICODE)
    trace(canvas, [2.0 * math.sin(i / 9) for i in range(300)], 1.0, 1)
    assert all(any(row[column][1] for row in canvas.rows()) for column in range(20))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200), st.integers(1, 64))
def test_envelope_covers_every_sample(samples, columns):
    spans = envelope(samples, columns)
    assert len(spans) == columns
    if len(samples) >= columns:
        assert min(low for low, _ in spans) == min(samples) and max(high for _, high in spans) == max(samples)


def test_trigger_finds_the_rising_crossing():
    samples = [math.sin(2 * math.pi * (i - 25.5) / 100) for i in range(200)]
    assert trigger(samples, 100) == 26
    assert trigger([1.0] * 50, 50) == 0


def test_field_is_lightest_at_home():
    near = field.distance((0.3, 0.8))
    assert near(0.3, 0.8) == 1.0 and near(1.0, 0.0) == 0.0
    rows = field.shade(near, 30, 10)
    assert len(rows) == 10 and {len(row) for row in rows} == {30}
    x, y = field.cell(0.3, 0.8, 30, 10)
    assert max(rows[y][x]) == field.LEVELS - 1


@given(st.integers(2, 80), st.integers(2, 40), st.data())
def test_cells_and_positions_agree(width, height, data):
    column, row = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    place = field.position(column, row, width, height)
    assert field.cell(*place, width, height) == (column, row)


@given(st.text("abcdefghij _0123456789", min_size=1, max_size=20), st.integers(1, 12))
def test_labels_fit(name, width):
    assert len(label(name, width)) <= width


def test_labels_stay_apart_and_readable():
    assert label("low_mid", 7) == "low mid"
    assert label("frequency", 7) == "freqncy"
    assert label("control_12", 6) != label("control_13", 6)


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [("1.35 kHz", 9, "1.35 kHz"), ("1.35 kHz", 6, "1.35k"), ("-58.0 dB", 7, "-58.0dB"), ("-58.0 dB", 6, "-58.0"),
     ("120 ms", 6, "120 ms"), ("ping pong", 6, "ping")],
)  # fmt: skip
def test_values_are_shortened_from_their_unit(value, width, text):
    assert short(value, width) == text


def test_runs():
    assert merge([("a", "lit"), ("b", "lit"), (" ", ""), ("c", "lit"), ("", "dim"), ("d", "dim")]) == [
        ("ab c", "lit"),
        ("d", "dim"),
    ]
    assert merge([("a", "lit on well"), (" ", "")]) == [("a", "lit on well"), (" ", "")]  # a ground shows in a blank
    row = [("abc", "x"), ("def", "y")]
    assert cut(row, 4) == [("abc", "x"), ("d", "y")]
    assert shorten(row, 5) == [("abc", "x"), ("d", "y"), ("…", "y")] and shorten(row, length(row)) == row
    assert shorten(row, 0) == [("", "x"), ("", "x")]
    assert length(spread(row, [("z", "")], 20)) == 20 and spread(row, [("long", "")], 7) == row


def test_words():
    assert clip("overdrive", 6) == "overd…" and clip("eq", 6) == "eq"
    assert clip_start("/a/b/model.nam", 9) == "…odel.nam"
    assert (clock(0), clock(72.9), clock(3723)) == ("0:00", "1:12", "1:02:03")


def test_the_terminal_decides_the_characters():
    utf8 = {"LANG": "en_GB.UTF-8", "TERM": "xterm-256color"}
    assert glyphs.choose("auto", utf8).name == "unicode"
    assert glyphs.choose("auto", {**utf8, "TERM": "linux"}).name == "ascii"
    assert glyphs.choose("auto", {**utf8, "LC_ALL": "C"}).name == "ascii"
    assert glyphs.choose("compat", {}).name == "compat"
    for tier in TIERS.values():
        for text in (
            tier.rises,
            *tier.fills,
            tier.hold,
            tier.track,
            tier.bar,
            tier.thumb,
            tier.on,
            tier.off,
            *tier.cross,
        ):
            assert cell_len(text) == len(text)
    assert all(ord(c) < 128 for c in "".join(map(str, vars(glyphs.ASCII).values())))


def test_without_colours_the_zones_of_a_meter_differ():
    assert len(set(look.look_of("none", "unicode", {}).glyphs.fills)) == 3
    assert len(set(look.look_of("none", "ascii", {}).glyphs.fills)) == 3


@pytest.mark.parametrize("tier", ["truecolor", "256", "16", "none"])
def test_every_set_of_colours_has_the_same_names(tier):
    assert look.look_of(tier, "unicode", {}).palette.keys() == look.DEFAULT.palette.keys()
