"""Charts: values end up where they belong, as SVG and as PNG."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest

from trainer import figures, pictures
from trainer.figures import Axis, Box, Dot, Path, Series, bars, colour, heat, lines


def of(drawing, kind, ink=None):
    return [mark for mark in drawing.marks if isinstance(mark, kind) and ink in (None, mark.ink)]


def test_a_curve_runs_between_the_corners_of_its_axes():
    x = np.arange(5.0)
    drawing = lines("n", "t", [Series("one", x, x**2, "b")], Axis("x"), Axis("y", 0.0, 16.0), 500, 300)
    (curve,) = [path for path in of(drawing, Path, "b") if len(path.points) == 5]
    left, right, top, bottom = figures.LEFT, 500 - figures.RIGHT, figures.TOP, 300 - figures.BOTTOM
    np.testing.assert_allclose(curve.points[0], (left, bottom))
    np.testing.assert_allclose(curve.points[2], ((left + right) / 2, bottom + (top - bottom) / 4))
    np.testing.assert_allclose(curve.points[-1], (right, top))


def test_a_curve_has_gaps_where_nothing_is_known_and_a_ring_at_its_best():
    y = [3.0, 2.0, np.nan, 1.0, 2.0]
    drawing = lines("n", "t", [Series("one", range(5), y, "a", best=3)], Axis("x"), Axis("y", log=True))
    assert [len(path.points) for path in of(drawing, Path, "a") if path.width < 2.5] == [2, 2]
    assert of(drawing, Dot, "a")[0].note == "one: best 1 at 3"


def test_peaks_of_long_curves_are_not_lost():
    y = np.zeros(50_000)
    y[31_234] = 1.0
    drawing = lines("n", "t", [Series("", np.arange(50_000), y, "c")], Axis("x"), Axis("y", 0.0, 1.0))
    curve = max(of(drawing, Path, "c"), key=lambda path: len(path.points))
    assert len(curve.points) <= figures.MOST_POINTS and min(py for _, py in curve.points) == pytest.approx(figures.TOP)


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [(0, 10, False, [0, 2, 4, 6, 8, 10]), (-0.3, 0.3, False, [-0.2, 0, 0.2]), (20, 20000, True, [100, 1000, 10000]),
     (0.011, 0.052, True, [0.02, 0.05])],
)  # fmt: skip
def test_ticks_are_round_numbers(low, high, log, expected):
    found = figures.ticks(low, high, log)
    assert 2 <= len(found) <= 11 and all(low <= tick <= high for tick in found)
    assert all(any(np.isclose(tick, each) for each in found) for tick in expected)


def test_a_bar_is_as_high_as_its_value_and_says_it():
    drawing = bars("n", "t", ["one", "two"], [("a", [-60.0, np.nan], "a")], Axis("dB", -120.0, 0.0), unit="dB")
    (bar,) = of(drawing, Box)
    assert bar.height == pytest.approx((320 - figures.TOP - figures.BOTTOM) / 2) and bar.note == "one, a: -60 dB"


def test_cells_of_a_map_have_the_colours_and_words_of_their_values():
    values = np.array([[0.0, 1.0, 2.0], [3.0, np.nan, 4.0]])
    drawing = heat("n", "t", values, Axis("c1", -5, 5), Axis("c2", -5, 5), "s")
    cells = {mark.note: mark for mark in of(drawing, Box) if mark.note}
    assert cells["c1 -5, c2 -5: 0 s"].ink == colour(0) and cells["c1 5, c2 5: 4 s"].ink == colour(1)
    assert cells["c1 0, c2 5: not measurable"].ink == "grid" and len(cells) == 6
    assert cells["c1 -5, c2 5: 3 s"].y < cells["c1 -5, c2 -5: 0 s"].y  # up is more
    assert cells["c1 5, c2 -5: 2 s"].x > cells["c1 0, c2 -5: 1 s"].x


def drawn():
    series = [Series("<b>", [0, 1, 2], [1, 3, 2], "a", dash=True), Series("y", [0, 2], [2, 2], "b", best=1)]
    return [
        lines("lines", 'a "title" & more', series, Axis("ms"), Axis("dB")),
        heat("heat", "t", np.arange(9.0).reshape(3, 3), Axis("a", 0, 1), Axis("b", 0, 1), "s"),
        bars("bars", "t", ["x"], [("s", [1.0], "d")], Axis("y", 0.0)),
    ]


def test_svg_is_well_formed_and_its_colours_are_the_page_s():
    for drawing in drawn():
        root = ElementTree.fromstring(pictures.svg(drawing))
        assert root.get("aria-label") == drawing.title and len(root) == len(drawing.marks)
        inks = {each.get("fill") for each in root} | {each.get("stroke") for each in root}
        assert "var(--text)" in inks and not any(ink and ink[0] not in "v#n" for ink in inks)
    for dark in (False, True):
        assert pictures.css(dark).count("--") == len(figures.INKS)


def test_png_shows_the_same():
    image = pytest.importorskip("PIL.Image")
    line, field, bar = (image.open(io.BytesIO(pictures.png(drawing))) for drawing in drawn())
    assert line.size == (1120, 640) and field.mode == bar.mode == "RGB"
    corner = [int(figures.INKS["d"][0][n : n + 2], 16) for n in (1, 3, 5)]
    middle = bar.getpixel((2 * 303, 2 * 200))
    assert np.allclose(middle, corner, atol=2)
    assert len({line.getpixel((x, y)) for x in range(0, 1120, 7) for y in range(0, 640, 3)}) > 5
