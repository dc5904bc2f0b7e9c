"""Where slots and knobs go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rack.ui.art.plan import BIG, LINE, SMALL, bottom, grid, neighbour, plan

counts = st.lists(st.integers(0, 16), min_size=1, max_size=12)


@given(counts, st.integers(56, 200), st.integers(10, 60), st.data())
def test_panels_fill_the_width_and_do_not_overlap(knobs, width, height, data):
    focused = data.draw(st.integers(0, len(knobs) - 1))
    boxes = plan(knobs, [14] * len(knobs), focused, width, height)
    taken = set()
    for box in boxes:
        cells = {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
        assert not taken & cells
        taken |= cells
    assert {(x, y) for y in range(bottom(boxes)) for x in range(width)} == taken  # no holes either
    assert [(b.y, b.x) for b in boxes] == sorted((b.y, b.x) for b in boxes)  # in reading order


@given(counts, st.integers(56, 200), st.integers(10, 60), st.data())
def test_every_knob_lies_inside_its_panel(knobs, width, height, data):
    focused = data.draw(st.integers(0, len(knobs) - 1))
    for count, box in zip(knobs, plan(knobs, [14] * len(knobs), focused, width, height), strict=True):
        places = grid(count, box.form, box.width - 2, box.height - 2)
        assert len(places) == count
        cells = [(x + i, y + j) for x, y, w, h in places for i in range(w) for j in range(h)]
        assert len(cells) == len(set(cells))
        assert all(0 <= x < box.width - 2 and 0 <= y < box.height - 2 for x, y in cells)


def test_as_large_as_there_is_room():
    knobs, titles = [2, 3, 5, 4, 4], [14] * 5
    assert {box.form for box in plan(knobs, titles, 0, 129, 35)} == {BIG}
    assert [box.form for box in plan(knobs, titles, 1, 69, 20)] == [SMALL, BIG, SMALL, SMALL, SMALL]
    assert [box.form for box in plan(knobs, titles, 1, 69, 14)] == [LINE, BIG, LINE, LINE, LINE] or (
        bottom(plan(knobs, titles, 1, 69, 14)) <= 14
    )


def test_a_full_size_terminal_shows_a_usual_rack_without_scrolling():
    for focused in range(5):
        assert bottom(plan([2, 3, 5, 4, 4], [14] * 5, focused, 69, 20)) <= 20


def test_a_slot_with_very_many_knobs_becomes_lines():
    (box,) = plan([31], [10], 0, 69, 20)
    assert box.form is LINE and box.height <= 20


def test_neighbours_are_found_as_one_reads():
    regions = [(0, 0, 9, 6), (11, 0, 9, 6), (0, 8, 5, 4), (7, 8, 5, 4), (30, 1, 5, 4)]
    forward = [0]
    for _ in range(4):
        forward.append(neighbour(regions, forward[-1], 1))
    assert forward == [0, 1, 4, 2, 3]
    assert neighbour(regions, 3, 1) == 0 and neighbour(regions, 0, -1) == 3


@pytest.mark.parametrize("step", [1, -1])
def test_going_on_reaches_every_control(step):
    boxes = plan([2, 3, 5, 14, 1], [14] * 5, 2, 69, 20)
    regions = []
    for count, box in zip([2, 3, 5, 14, 1], boxes, strict=True):
        regions += [(box.x + x, box.y + y, w, h) for x, y, w, h in grid(count, box.form, box.width - 2, box.height - 2)]
    seen, at = set(), 0
    for _ in regions:
        seen.add(at)
        at = neighbour(regions, at, step)
    assert len(seen) == len(regions)
