"""Several runs beside each other, as the papers show them: networks, sizes, how the knob was taught."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import charts, journal, reference
from .answers import Answers
from .charts import Panel, grade
from .examine import Study
from .figures import SERIES, Axis, Series, bars, lines

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def inks(count: int) -> list[str]:
    """A colour for each run; they come again where there are many."""
    return [SERIES[n % len(SERIES)] for n in range(count)]


def table(studies: Sequence[Study]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: each run's letter, name, network and figures."""
    head = ["run", "network", "weights", "hears back", "steps", "minutes", "ESR", "MAE", "MR-STFT", "loudness", ""]
    rows = []
    for letter, study in zip(LETTERS, studies, strict=False):
        facts, figures = study.found.facts, study.figures.get("model", {})
        curve = journal.curve(study.found.records)
        error = esr(study)
        past = study.found.effect.receptive_field if study.found.effect else None
        rows.append([
            f"{letter}  {study.found.name}", facts.architecture if facts else "",
            f"{facts.parameters:,}" if facts and facts.parameters else "",
            f"{1000 * past / study.rate:.0f} ms" if past else "",
            f"{int(curve['step'][-1]):,}" if curve["step"] else "",
            f"{curve['seconds'][-1] / 60:.1f}" if curve["step"] else "",
            _shown(error, ".4f"), _shown(figures.get("mae"), ".4f"), _shown(figures.get("mr_stft"), ".3f"),
            f"{figures['lufs_difference']:+.2f} dB" if "lufs_difference" in figures else "",
            grade(error) if error is not None else "",
        ])  # fmt: skip
    return head, rows


def _shown(value: float | None, how: str) -> str:
    return "" if value is None or not np.isfinite(value) else format(value, how)


def esr(study: Study) -> float | None:
    """A run's error: as the trainer measured it at the end, else over the excerpts, else its best validation."""
    facts = study.found.facts
    if facts is not None and facts.esr is not None:
        return facts.esr
    if "model" in study.figures:
        return study.figures["model"]["esr"]
    curve = journal.curve(study.found.records)["esr"]
    return min(curve) if curve else None


def verdict(studies: Sequence[Study]) -> str:
    """Which of them is nearest to its target, in a sentence."""
    known = [(error, study.found.name) for study in studies if (error := esr(study)) is not None]
    if not known:
        return f"{len(studies)} runs; none of them has been measured."
    best, name = min(known)
    return f"{len(studies)} runs. Nearest to its target: {name}, {grade(best)} (ESR {best:.2g})."


def panels(studies: Sequence[Study]) -> list[Panel]:
    """All figures in which the runs lie beside each other; each run is a letter and a colour."""
    made = [
        Panel("How they learned", _learning(studies)),
        Panel("How near they come", _errors(studies)),
        Panel("What they do to test signals", _answers(studies)),
    ]
    return [panel for panel in made if panel.figures]


def _lettered(studies: Sequence[Study]):
    return zip(LETTERS, inks(len(studies)), studies, strict=False)


def _learning(studies: Sequence[Study]) -> list:
    curves = [(letter, ink, journal.curve(study.found.records)) for letter, ink, study in _lettered(studies)]
    curves = [row for row in curves if row[2]["step"]]
    if not curves:
        return []
    figures = []
    for name, title, key, x, axis, words in (
        ("training", "Training loss", "loss", "step", "steps of training",
         "Comparable only where the runs have the same loss."),
        ("validation", "Validation loss", "validation_loss", "step", "steps of training",
         "The same loss on what was not learned from."),
        ("error", "Error over time", "esr", "seconds", "minutes of training",
         "The part of the sound that is wrong, on what was not learned from; the ring marks the best. Networks are "
         "compared by this."),
    ):  # fmt: skip
        series = [
            Series(letter, np.array(curve[x]) / (60 if x == "seconds" else 1), curve[key], ink,
                   best=int(np.nanargmin(curve[key])) if key != "loss" else None)
            for letter, ink, curve in curves
        ]  # fmt: skip
        log = all(np.all(np.asarray(each.y) > 0) for each in series)
        figures.append(
            (lines(name, title, series, Axis(axis), Axis("ESR" if key == "esr" else "loss", log=log)), words)
        )
    return figures


def _errors(studies: Sequence[Study]) -> list:
    figures = []
    errors = [esr(study) for study in studies]
    if any(error is not None for error in errors):
        rows = [(letter, [np.nan if error is None else error], ink)
                for (letter, ink, _), error in zip(_lettered(studies), errors, strict=False)]  # fmt: skip
        drawing = bars("esr", "Error of each run", [""], rows, Axis("ESR", 0.0), 420)
        figures.append((drawing, "The energy of what is wrong over the energy of the sound. Lower is nearer."))
    by_knob = [(letter, ink, charts.errors_by_knob(study.found)) for letter, ink, study in _lettered(studies)]
    series = [
        Series(letter, [place for place, _ in over], [error for _, error in over], ink, dots=True)
        for letter, ink, over in by_knob
        if len(over) > 1
    ]
    if series:
        axis = Axis("ESR", log=all(min(each.y) > 0 for each in series))
        drawing = lines("knob", "Error at each place of the knob", series, Axis("knob (0 to 1)", 0, 1), axis)
        figures.append((drawing, "Where along the knob each run is sure, and where it is not."))
    taught = [(letter, ink, study.found.run) for letter, ink, study in _lettered(studies)]
    taught = [(letter, ink, run) for letter, ink, run in taught if run is not None and run.recipe == "conditioning"]
    if len({run.strategy for _, _, run in taught}) > 1:
        series = []
        for letter, ink, run in taught:
            rows = np.array(reference.table(run.strategy, run.seed))
            series.append(Series(letter, rows[:, 0], rows[:, 1], ink, dots=True))
        drawing = lines("strategies", "What the knob was taught", series, Axis("knob (0 to 1)", 0, 1),
                        Axis("amount of the effect", 0, 1))  # fmt: skip
        figures.append((drawing, "How much of the effect belongs to each place of the knob."))
    return figures


def _answers(studies: Sequence[Study]) -> list:
    captured = all(study.captured for study in studies)  # otherwise their tones differ
    there = [(letter, ink, study.model) for letter, ink, study in _lettered(studies)
             if study.model is not None and study.captured == captured]  # fmt: skip
    if not there:
        return []
    count = min(charts.MOST_HARMONICS, *(len(model.harmonics.hz) for _, _, model in there))
    names = charts.tones(there[0][2].harmonics.hz[0], count)
    rows = [(letter, list(model.harmonics.db[:count]), ink) for letter, ink, model in there]
    target = same_target(studies)
    if target is not None:
        rows.insert(0, ("target", list(target.harmonics.db[:count]), "grey"))
    sine = bars("harmonics", f"A sine of {names[0]}", names, rows, Axis(charts.LEVEL, -120.0, 6.0), 900, unit="dB")
    figures = [(sine, "What comes out for a pure tone, the same for all: the tone and its overtones.")]
    for name, title, pick, x, y, words in (
        ("response", "Frequency response", lambda each: each.sweep, Axis("frequency (Hz)", 20.0, 20000.0, True),
         Axis("gain (dB)"), "How much louder or quieter each pitch becomes."),
        ("transfer", "Transfer curve", lambda each: each.transfer, Axis("input", -1.0, 1.0), Axis("output"),
         "What comes out over what goes in, through one period of a loud tone of 110 Hz."),
    ):  # fmt: skip
        rows = [(letter, pick(model), ink) for letter, ink, model in there]
        series = [Series(letter, curve[0], curve[1], ink) for letter, curve, ink in rows]
        if target is not None:
            series.insert(0, Series("target", pick(target)[0], pick(target)[1], "grey", True))
        figures.append((lines(name, title, series, x, y), words))
    return figures


def same_target(studies: Sequence[Study]) -> Answers | None:
    """The answers of the target, where all runs have the same known one."""
    targets = [study.target for study in studies]
    first = targets[0]
    if first is None or any(each is None for each in targets):
        return None
    same = all(np.allclose(each.harmonics.db, first.harmonics.db, atol=0.01) for each in targets if each is not None)
    return first if same else None


def same_sound(studies: Sequence[Study]) -> bool:
    """Whether all runs learned the same recordings, so that one target stands for all."""
    first = studies[0].excerpts
    return bool(first) and all(
        len(study.excerpts) == len(first)
        and all(
            a.rate == b.rate and np.array_equal(a.target, b.target) and np.array_equal(a.dry, b.dry)
            for a, b in zip(study.excerpts, first, strict=True)
        )
        for study in studies
    )
