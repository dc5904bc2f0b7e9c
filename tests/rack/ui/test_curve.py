"""Curves, jobs in words, and the pictures of the Train page: as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rack.jobs import Finding, Job, JobRecord, Pair, Spectrum
from rack.ui.art import glyphs
from rack.ui.art import jobs as words
from rack.ui.art.curve import (
    BRIGHT,
    DIM,
    GUTTER,
    MARK,
    Line,
    Scale,
    log_scale,
    log_ticks,
    number,
    plot,
    step_ticks,
    wave,
)
from rack.ui.widgets.curves import ESR, LOSS, Curves, farthest

from .jobs import LATE, NOISE, history, jobs, pair, spectrum

TIERS = {name: glyphs.choose(name, {}) for name in glyphs.TIERS}
UNICODE, ASCII = TIERS["unicode"], TIERS["ascii"]


def text(rows) -> str:
    return "\n".join("".join(glyph for glyph, _ in row).rstrip() for row in rows)


GOLDEN = """\
     1|###
      |   ####
      |       #####
   0.1|            ####
      |                ##O
       0                10"""


def test_a_line_falls_from_the_left_to_its_mark():
    line = Line([(0.0, 0.9), (1.0, 0.1)], BRIGHT)
    above = Line([(0.0, 1.0), (0.0, 0.9)], DIM)
    ticks = [(0.99, "1"), (0.3, "0.1")]
    drawn = plot(26, 6, [line, above], ASCII, y_ticks=ticks, x_ticks=step_ticks(10, 12)[:1] + [(1.0, "10")],
                 mark=(1.0, 0.1))  # fmt: skip
    assert text(drawn) == GOLDEN
    assert drawn[4][-1] == (ASCII.thumb, MARK)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(st.sampled_from(sorted(TIERS)), st.integers(10, 90), st.integers(2, 20), st.data())
def test_pictures_fill_exactly_their_cells(tier, width, height, data):
    numbers = st.one_of(st.none(), st.tuples(st.floats(-1, 2), st.floats(-1, 2)))
    lines = [Line(data.draw(st.lists(numbers, max_size=9)), layer) for layer in (1, 2, 3)]
    ticks = [(data.draw(st.floats(0, 1)), "123456") for _ in range(5)]
    rows = plot(width, height, lines, TIERS[tier], y_ticks=ticks, x_ticks=ticks, mark=(1.0, 0.0))
    assert len(rows) == height and all(len(row) == width for row in rows)
    assert all(len(glyph) == 1 for row in rows for glyph, _ in row)


def test_a_line_has_no_gaps_but_where_a_point_is_missing():
    points = [(x / 10, 0.5 + 0.4 * math.sin(x)) for x in range(11)]
    rows = plot(40, 10, [Line(points, BRIGHT)], UNICODE)
    columns = list(zip(*[[layer for _, layer in row[GUTTER:]] for row in rows[:-1]], strict=True))
    assert all(BRIGHT in column for column in columns)
    rows = plot(40, 10, [Line([*points[:4], None, *points[7:]], BRIGHT)], UNICODE)
    columns = list(zip(*[[layer for _, layer in row[GUTTER:]] for row in rows[:-1]], strict=True))
    assert not all(BRIGHT in column for column in columns)


def test_scales_and_their_numbers():
    scale = log_scale([0.001, 0.1, 0.0, math.inf, -1.0])
    assert scale.at(0.01) == pytest.approx(0.5) and scale.low < 0.001 and scale.high > 0.1
    ticks = dict((words, at) for at, words in log_ticks(scale))
    assert {"0.001", "0.01", "0.1"} <= ticks.keys() and ticks["0.01"] == pytest.approx(0.5)
    narrow = log_ticks(log_scale([0.812, 0.815]))
    assert len(narrow) >= 1 and all(0 <= at <= 1 for at, _ in narrow)
    assert [number(v) for v in (0.0123, 0.5, 12, 1200, 15000, 2.5e6, 0.0001)] == [
        "0.0123", "0.5", "12", "1.2k", "15k", "2.5M", "1e-4"]  # fmt: skip
    assert step_ticks(1000, 60)[0] == (0.0, "0") and step_ticks(1000, 60)[-1] == (1.0, "1k")
    assert step_ticks(0, 60) == [(0.0, "0")] and len(step_ticks(77777, 30)) <= 5
    assert Scale(0, 10).at(5) == 0.5


def test_a_recording_is_as_high_as_its_loudest_sample():
    low, high = [-0.1] * 50 + [-0.4] * 50, [0.1] * 50 + [0.4] * 50
    assert text(wave(low, high, 10, 4, ASCII)) == "     #####\n##########\n##########\n     #####"
    assert text(wave([], [], 5, 2, ASCII)) == "\n"


# --- the widgets, without a terminal ---


class Plain(Curves):
    """Curves with the characters of no terminal."""

    glyphs = ASCII  # type: ignore[assignment]


CURVES = """\
     1| #
      | o###
      |    o#####
   0.5|        o##############
      |              o oooooOo
       0                    2k"""


def test_curves_mark_the_best_and_name_what_is_seen():
    curves = Plain()
    curves.show(history())
    assert curves.best == (1850, pytest.approx(0.371, abs=1e-3))
    assert curves.border_title == "loss  training o, validation #" and "at step 1,850" in str(curves.border_subtitle)
    assert text(curves.draw(30, 6)) == CURVES
    curves.show(history(), history(60, 2.0, 0.2), "fuzz")
    assert curves.border_title == "loss  training o, validation #, fuzz ."
    behind = text(curves.draw(30, 6))
    assert "..." in behind and "3k" in behind  # the longer run makes the axis longer
    curves.see(ESR)
    assert curves.border_title == "ESR  validation, fuzz ." and curves.best and curves.best[1] < 0.05
    curves.see(LOSS)
    curves.show([])
    assert "no validation yet" in text(curves.draw(30, 6)) and curves.border_subtitle == ""
    curves.show([JobRecord(step=5, loss=0.3)])
    assert "O" not in text(curves.draw(30, 6))  # nothing was validated: nothing is the best


def test_where_the_model_is_farthest_off():
    assert farthest(spectrum()) == "farthest apart at 18.2 kHz, by -7.8 dB"
    silent = Spectrum((100.0, 1000.0), (-20.0, -90.0), (-20.5, -60.0))
    assert farthest(silent) == "farthest apart at 100 Hz, by -0.5 dB"  # nobody hears the other beside it
    assert farthest(Spectrum()) == ""


# --- words ---


def row(job: Job, width: int = 65, tier: str = "unicode") -> str:
    return "".join(part for part, _ in words.queue_rows([job], None, width, TIERS[tier])[0])


def test_lines_of_the_queue():
    running, queued, done, failed = jobs()
    assert row(running) == "  running  compressor     ● steer   67 %  recognisable  0:40 left"
    assert row(queued).startswith("  queued   twin reverb") and row(queued).rstrip().endswith("capture")
    assert row(done).rstrip().endswith("very close") and "failed   hall" in row(failed)
    assert row(running, 100, "ascii").count("*") == 1 and "short memory" in row(running, 100)


@pytest.mark.parametrize("width", [50, 65, 78, 138])
def test_the_queue_stands_in_columns(width):
    rows = [[part for part, _ in row] for row in words.queue_rows(jobs(), None, width, UNICODE)]
    starts = {tuple(sum(map(len, row[:column])) for column in range(len(row))) for row in rows}
    assert len(rows) == 4 and len(starts) == 1 and {sum(map(len, row)) for row in rows} == {width}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(45, 160), st.sampled_from(jobs()), st.sampled_from(sorted(TIERS)))
def test_lines_fit(width, job, tier):
    assert len(row(job, width, tier)) <= width


@pytest.mark.parametrize(
    ("change", "slot", "said"),
    [
        (None, "amp", "n: choose a dry and a wet recording"),
        ({"state": "queued", "place": 2}, "amp", "2 before it; < moves it forward"),
        ({"state": "running", "checkpoints": ()}, "amp", "the first version to listen to comes in a moment"),
        ({"slot": "", "playing": -1}, "amp", "Enter: play it in amp"),
        ({"slot": "", "playing": -1}, "", "add one on the rack page"),
        ({}, "amp", "x compares with the original, s stops"),
        ({"comparing": "original"}, "amp", "you hear the original; x: the model"),
        ({"state": "paused"}, "amp", "Space goes on"),
        ({"state": "paused", "auto_paused": True}, "amp", "by itself when the sound is on time"),
        ({"state": "failed"}, "amp", "Space tries again"),
        ({"state": "done"}, "amp", "w saves it in the library, c trains on"),
        ({"state": "done", "saved": "/x"}, "amp", "it is in the library"),
    ],
)
def test_the_next_step_is_named(change, slot, said):
    job = None if change is None else replace(jobs()[0], **change)
    assert said in words.next_step(job, slot)


def test_what_is_known_of_a_job():
    running, _, _, failed = jobs()
    far, good, where = ("".join(part for part, _ in line) for line in words.about(running, UNICODE))
    assert far == "step 2,000, 1:20 so far, 0:40 left, 12x real time, SteerableTCN, 21,408 weights"
    assert good == "ESR 0.0365, recognisable   loss 0.3856   best 0.371 at step 1,850"
    assert where == "● plexi: checkpoint 7, the newest"
    held = replace(running, playing=5, following=False, comparing="original", warnings=("too loud",))
    where = "".join(part for part, _ in words.about(held, UNICODE)[2])
    assert where == "● plexi: checkpoint 5, 2 back, held   you hear the original   too loud"
    assert "no such file; choose it again" in "".join(part for part, _ in words.about(failed, UNICODE)[2])
    assert words.about(Job("x"), UNICODE)[1] == [("nothing is known yet", "dim")]


def test_the_check_list_says_what_why_and_what_to_do():
    lines = ["".join(part for part, _ in line) for line in words.checklist(jobs()[0], pair(), 60, ASCII)]
    assert lines[0] == "1:23 at 48 kHz, wet 212 samples late"
    assert lines[1:4] == [f"look  {NOISE.message}", f"      {NOISE.reason}", f"      > {NOISE.remedy}"]
    assert lines[4] == f"fine  {LATE.message}" and all(len(line) <= 60 for line in lines)
    narrow = words.checklist(jobs()[0], pair(), 24, ASCII)
    assert len(narrow) > len(lines) and all(sum(len(part) for part, _ in line) <= 36 for line in narrow)
    bad = replace(jobs()[1], findings=(Finding("length", "bad", "2 s are too short."),))
    assert words.checklist(bad, None, 60, ASCII)[0][0] == ("stop  ", "hot b")
    assert "nothing is wrong" in words.checklist(jobs()[1], Pair(rate=48000), 60, ASCII)[1][0][0]
    assert "not checked yet" in words.checklist(jobs()[1], None, 60, ASCII)[0][0][0]
