"""The figures of a report, and what each says in plain words: studies in, panels out."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import numpy as np

from . import examine, journal
from .examine import Study
from .figures import SERIES, Axis, Drawing, Series, bars, heat, lines
from .runs import Found

GRADES = ((0.01, "very close"), (0.035, "close"), (0.1, "recognisable"), (0.3, "rough"))  # ESR up to; as `train` says
WAVE_S = 0.02  # of a waveform that is shown
MOST_HARMONICS = 12
DECAYED_DB = -90.0
LEVEL = "level (dB)"


class Panel(NamedTuple):
    """Figures that belong together, each with the words below it."""

    title: str
    figures: list[tuple[Drawing, str]]


def grade(esr: float) -> str:
    """An error-to-signal ratio in a word or two."""
    return next((word for limit, word in GRADES if esr <= limit), "far off")


def panels(study: Study) -> list[Panel]:
    """All figures of one run that can be drawn."""
    made = [
        Panel("How it learned", learning(study.found)),
        Panel("What it sounds like, seen", heard(study)),
        Panel("What it does to test signals", answers(study)),
        Panel("What the knobs do", tapers(study.found) + steering(study)),
    ]
    return [panel for panel in made if panel.figures]


# --- learning ---------------------------------------------------------------------------------------------------------


def learning(found: Found) -> list[tuple[Drawing, str]]:
    """Training and validation loss, and the validation's ESR, over steps; the best marked. Empty without records."""
    curve = journal.curve(found.records)
    steps = curve["step"]
    if not steps:
        return []
    steered = found.run is not None and found.run.recipe == "steer"
    figure = curve["validation_loss"] if steered else curve["esr"]
    best = int(np.nanargmin(figure))
    series = [
        Series("training", steps, curve["loss"], "grey"),
        Series("validation", steps, curve["validation_loss"], "a", best=best if steered else None),
    ]
    axis = Axis("steps of training")
    loss = lines("learning", "Loss", series, axis, Axis("loss", log=_positive(series)))
    esr = Series("validation", steps, curve["esr"], "a", best=None if steered else best)
    error = lines("error", "Error on unheard material", [esr], axis, Axis("ESR", log=_positive([esr])))
    minutes = curve["seconds"][-1] / 60
    more = ""
    if best < 0.6 * len(steps) and len(steps) > 10:
        more = " It was best long before the end: more training will not help, more or other recordings may."
    if best >= len(steps) - 2 and len(steps) > 5:
        more = " It was still getting better at the end: more time would help."
    words = (
        f"What the network tries to make small, over {int(steps[-1]):,} steps ({minutes:.1f} min). Both curves should "
        "fall together; where only the grey one falls, the network learns the recording by heart."
    )
    where = f"The ring marks the weights that were kept (step {int(steps[best]):,}).{more}"
    return [
        (loss, f"{words} {where}" if steered else words),
        (error, _error_words(curve["esr"][best]) + ("" if steered else f" {where}")),
    ]


def _positive(series: list[Series]) -> bool:
    found = np.concatenate([np.asarray(each.y, float) for each in series])
    found = found[np.isfinite(found)]
    return bool(len(found)) and bool((found > 0).all())


def _error_words(esr: float) -> str:
    below = -10 * np.log10(max(esr, 1e-9))
    return f"The part of the sound that is wrong: {esr:.2g} of its energy, {below:.0f} dB below it."


# --- recordings -------------------------------------------------------------------------------------------------------


def heard(study: Study) -> list[tuple[Drawing, str]]:
    """Waveform, spectra and gain of the recordings, target against model; the error over the knob."""
    figures = []
    for n, each in enumerate(study.excerpts):
        title = f" at {each.name}" if each.name else ""
        tag = f"-{n + 1}" if len(study.excerpts) > 1 else ""
        figures.append((_waveform(each, f"waveform{tag}", title), _WAVE_WORDS))
        hz, levels = examine.spectra(each)
        top = max(float(levels["target"].max()), float(levels["model"].max()))
        series = [
            Series("error", hz, levels["error"], "grey"),
            Series("target", hz, levels["target"], "b"),
            Series("model", hz, levels["model"], "a", True),
        ]
        floor = Axis(LEVEL, top - 90, top + 5)
        drawing = lines(f"spectrum{tag}", f"Spectrum{title}", series, _pitch(each.rate), floor)
        figures.append((drawing, _SPECTRUM_WORDS))
    over = errors_by_knob(study.found)
    if len(over) > 1:
        name, x, y = _knob_name(study.found), [place for place, _ in over], [esr for _, esr in over]
        curve = [Series("", x, y, "a", dots=True)]
        drawing = lines("knob", "Error at each place of the knob", curve, Axis(f"{name} (0 to 1)", 0, 1),
                        Axis("ESR", log=min(y) > 0))  # fmt: skip
        worst = max(over, key=lambda row: row[1])
        words = f"Least sure at {worst[0]:.2g}: ESR {worst[1]:.2g}, {grade(worst[1])}."
        figures.append((drawing, words))
    return figures


_WAVE_WORDS = "A fiftieth of a second where the target is loudest: the dashed line should lie on the solid one."
_SPECTRUM_WORDS = (
    "How strong each pitch is on average. The grey curve is the difference of the two sounds: the deeper it lies below "
    "them, the less of it is heard."
)


def _waveform(excerpt, name: str, title: str) -> Drawing:
    length = min(len(excerpt.target), round(WAVE_S * excerpt.rate))
    middle = int(np.argmax(np.abs(excerpt.target)))
    start = int(np.clip(middle - length // 2, 0, len(excerpt.target) - length))
    inside = slice(start, start + length)
    ms = 1000 * np.arange(length) / excerpt.rate
    series = [
        Series("dry", ms, excerpt.dry[inside], "grey", width=1.2),
        Series("target", ms, excerpt.target[inside], "b"),
        Series("model", ms, excerpt.model[inside], "a", True),
    ]
    return lines(name, f"Waveform{title}", series, Axis("ms"), Axis("amplitude"))


def _pitch(rate: int) -> Axis:
    return Axis("frequency (Hz)", 20.0, min(20000.0, 0.5 * rate), True)


def errors_by_knob(found: Found) -> list[tuple[float, float]]:
    """Where the first knob stood, and the ESR there, as the trainer measured it last; sorted."""
    info = (found.facts.info if found.facts else None) or {}
    rows, parts = info.get("data"), info.get("metrics")
    if not isinstance(rows, list) or not isinstance(parts, dict):
        return []
    over: list[tuple[float, float]] = []
    for part, figures in parts.items():
        by_name = figures.get("by_name") if isinstance(figures, dict) else None
        mine = [row for row in rows if isinstance(row, dict) and row.get("part") == part]
        pairs = [(_first(row.get("knobs")), by_name.get(row.get("name"))) for row in mine if isinstance(by_name, dict)]
        over = [(float(place), float(esr)) for place, esr in pairs if is_number(place) and is_number(esr)] or over
    return sorted(over)


def _first(knobs: Any) -> Any:
    return next(iter(knobs.values()), None) if isinstance(knobs, dict) else None


def is_number(value: Any) -> TypeGuard[float]:
    """Whether something out of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _knob_name(found: Found) -> str:
    return found.effect.knobs[0].name if found.effect is not None and found.effect.knobs else "knob"


# --- test signals -----------------------------------------------------------------------------------------------------


def answers(study: Study) -> list[tuple[Drawing, str]]:
    """Harmonics, frequency response, transfer and gain curve; beside a known target's."""
    if study.model is None:
        return []
    both = [("target", study.target, "b"), ("model", study.model, "a")]
    there = [(label, each, ink) for label, each, ink in both if each is not None]
    place = ", ".join(f"{name} {value:.2g}" for name, value in study.at.items())
    title = f" at {place}" if place else ""
    alone = "" if study.target else " The device itself is not here to be asked, so only the model answers."
    if study.captured:
        alone = " The capture signal has asked the device; the model is asked the same."
    figures = [(_harmonics(there, title), _harmonic_words(study) + alone)]
    figures.append(_response(study, there, title))
    for name, label, words, pick, x, y in _CURVES:
        series = [_answer(who, pick(each), ink, len(there) > 1) for who, each, ink in there]
        figures.append((lines(name, f"{label}{title}", series, x, y), words))
    return figures


def _answer(who: str, curve: tuple[np.ndarray, np.ndarray], ink: str, two: bool) -> Series:
    return Series(who, curve[0], curve[1], ink, who == "model" and two)


def _harmonics(there: list, title: str) -> Drawing:
    count = min(MOST_HARMONICS, *(len(each.harmonics.hz) for _, each, _ in there))
    names = tones(there[0][1].harmonics.hz[0], count)
    rows = [(label, list(each.harmonics.db[:count]), ink) for label, each, ink in there]
    return bars("harmonics", f"A sine of {names[0]}{title}", names, rows, Axis(LEVEL, -120.0, 6.0), 760, unit="dB")


def tones(hz: float, count: int) -> list[str]:
    """Names of a tone and its overtones."""
    return [f"{n + 1} kHz" if hz > 500 else f"{round((n + 1) * hz)} Hz" for n in range(count)]


def _harmonic_words(study: Study) -> str:
    assert study.model is not None
    tone = "110 Hz, the loudest of the capture" if study.captured else "1 kHz at -12 dB"
    said = f"What comes out for a pure tone of {tone}. Overtones of the model: {study.model.harmonics.thd:.2%}"
    said += f" of the tone (target {study.target.harmonics.thd:.2%})" if study.target else " of the tone"
    return f"{said}; everything that is no overtone lies {-study.model.harmonics.aliasing_db:.0f} dB below it."


def _response(study: Study, there: list, title: str) -> tuple[Drawing, str]:
    """By a sweep; where the target cannot be asked and is no known effect, by the recordings."""
    if study.target is None and study.excerpts:
        each = study.excerpts[len(study.excerpts) // 2]
        hz, gains = examine.heard_gain(each)
        pairs = [("target", gains["target"], "b", False), ("model", gains["model"], "a", True)]
        series = [Series(label, hz, gain, ink, dash) for label, gain, ink, dash in pairs]
        words = "How much louder or quieter each pitch of the recording becomes. Overtones count where they fall."
    else:
        series = [_answer(who, each.sweep, ink, len(there) > 1) for who, each, ink in there]
        words = "How much louder or quieter each pitch becomes, by a quiet sweep from the lowest to the highest."
    drawing = lines("response", f"Frequency response{title}", series, _pitch(study.rate), Axis("gain (dB)"))
    return drawing, words


_CURVES = (
    ("transfer", "Transfer curve", "What comes out over what goes in, through one period of a loud tone of 110 Hz: "
     "bends are distortion, flat ends clipping, a loop is a delay.", lambda each: each.transfer,
     Axis("input", -1.0, 1.0), Axis("output")),
    ("gain", "Gain over level", "How much a tone is turned up or down, from quiet to loud: it falls where an effect "
     "compresses or clips.", lambda each: each.gains, Axis("input (dB)", -60.0, 0.0), Axis("gain (dB)")),
)  # fmt: skip


# --- knobs ------------------------------------------------------------------------------------------------------------


def tapers(found: Found) -> list[tuple[Drawing, str]]:
    """The curve by which a network hears a knob, where it has learned one."""
    figures, effect = [], found.effect
    if effect is None:
        return figures
    for k, taper in getattr(effect, "tapers", {}).items():
        name = effect.knobs[int(k)].name
        curve = [Series("", np.asarray(taper["places"]), np.asarray(taper["heard"]), "a", dots=True)]
        x, y = Axis(f"{name} (0 to 1)", 0, 1), Axis("heard by the network")
        figures.append((lines(f"taper-{int(k) + 1}", f"Taper of {name}", curve, x, y), _TAPER_WORDS))
    return figures


_TAPER_WORDS = (
    "What the network hears of the knob at each place that was recorded: places of one height sound alike, however far "
    "apart they lie on the knob."
)


def steering(study: Study) -> list[tuple[Drawing, str]]:
    """Maps of loudness and decay over two knobs, and decays at several levels."""
    figures = []
    if study.maps is not None:
        m = study.maps
        x, y = (Axis(name, *limits) for name, limits in zip(m.names, m.limits, strict=True))
        for name, title, values, unit, words in (
            ("loudness", "Loudness", m.lufs, "LUFS", "How loud the output is; the middle is what was taught."),
            ("density", "Loudness at equal peaks", m.dense, "LUFS",
             "How dense the output is: its loudness once its peak is brought to 0 dB, as in the paper."),
            ("t60", "Decay time", m.t60, "s", "How long a click rings on until it has fallen by 60 dB (T60). Grey: it "
             "does not die away evenly."),
        ):  # fmt: skip
            if np.isfinite(values).any():
                figures.append((heat(f"map-{name}", title, values, x, y, unit), words))
    if study.decays:
        series = []
        for (level, decay), ink in zip(study.decays, SERIES, strict=False):
            shown = np.flatnonzero(decay > DECAYED_DB)
            end = int(shown[-1]) + 1 if len(shown) else 1
            series.append(Series(f"{level:g} dB", np.arange(end) / study.rate, decay[:end], ink))
        drawing = lines("decay", "Decay of a click", series, Axis("s"), Axis("energy left (dB)", DECAYED_DB, 0.0), 620)
        figures.append((drawing, "How a click dies away, for clicks of several levels. Equal curves mean that the "
                        "effect rings alike for soft and loud playing, as a reverb does."))  # fmt: skip
    return figures
