"""What a report measures: a run's model beside its target, in numbers and arrays; nothing is drawn here.

A target can be heard where its recordings are there. It answers to test signals where it is a known effect; of a
device that was only recorded, the recordings themselves are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxmodels import apply
from jaxmodels.effect import Effect, default_positions, positions

from . import answers, config, data, finish, metrics, recipes, reference
from .answers import SETTLED, Answers
from .config import Run, TrainerError
from .data import Pair
from .metrics import Play
from .runs import Found
from .signals import capture_signal

MOST_PAIRS = 3  # recordings of a parametric effect that are shown
LONGEST_S = 20.0  # of a recording that is looked at
CLIP_S = 5.0  # of a player
LEVELS_DB = (0.0, -6.0, -12.0, -24.0, -40.0)  # of the impulses whose decay is drawn


class Excerpt(NamedTuple):
    """The same passage dry, from the target and from the model; `[N]` each."""

    name: str  # the knobs' places; empty without knobs
    knobs: dict[str, float]
    rate: int
    dry: np.ndarray
    target: np.ndarray
    model: np.ndarray


class Maps(NamedTuple):
    """What two knobs do: `[G, G]` each, rows along the second knob."""

    names: tuple[str, str]
    limits: tuple[tuple[float, float], tuple[float, float]]
    lufs: np.ndarray  # of the output as it comes
    dense: np.ndarray  # of the output brought to a peak of 1
    t60: np.ndarray  # s; NaN where the decay is no line


class Study(NamedTuple):
    """All that was measured of a run."""

    found: Found
    part: str  # where the excerpts are from: test, validation or train
    excerpts: list[Excerpt]
    figures: dict[str, dict[str, float]]  # by row: the model, and what doing nothing and the best volume would reach
    model: Answers | None
    target: Answers | None  # of a known effect, or of a captured device
    captured: bool  # whether the answers are those to the capture signal
    at: dict[str, float]  # where the knobs stood for the answers
    maps: Maps | None
    decays: list[tuple[float, np.ndarray]]  # level in dB, decay in dB
    rate: int
    missing: tuple[str, ...]


def study(found: Found, grid: int = 11) -> Study:
    """Measure a run. What cannot be done is said in `missing`, and the rest is there all the same."""
    missing, effect, run = list(found.missing), found.effect, found.run
    part, pairs, whole = "", [], None
    if found.audible and run is not None:
        try:
            part, pairs, whole = material(run)
        except (TrainerError, ValueError) as error:
            missing.append(f"The recordings cannot be used: {error}.")
    rate = int((effect.sample_rate if effect else None) or (pairs[0].rate if pairs else 44100))
    nothing = Study(found, part, [], {}, None, None, False, {}, None, [], rate, tuple(missing))
    if effect is None:
        return nothing
    if getattr(effect, "channels", 1) != 1:
        return nothing._replace(missing=(*missing, "The model is not mono: it is not measured here."))
    if pairs and pairs[0].rate != rate:
        missing.append(f"The recordings have {pairs[0].rate} Hz and the model {rate} Hz: they are not compared.")
        pairs, whole = [], None
    if any(name not in {knob.name for knob in effect.knobs} for pair in pairs for name in pair.knobs):
        missing.append("The recordings have other knobs than the model: the run file was changed since.")
        pairs, whole = [], None
    excerpts = [excerpt(effect, pair, _warm_up(run)) for pair in pairs]
    middle = excerpts[len(excerpts) // 2].knobs if excerpts else {}
    play, target = at(effect, middle), None
    device = answers.recorded(whole, play) if whole is not None else None
    if device is not None:
        target, model = device
    else:
        model = answers.asked(play, rate)
        target = answers.asked(_known(run, middle, rate), rate) if run and run.data.effect and excerpts else None
    maps, decays = None, []
    if _steered(found):
        decays = decays_of(playing(effect), default_positions(effect), rate, _ring(effect, rate))
        maps = maps_of(playing(effect), effect, _passage(excerpts, rate), rate, grid) if len(effect.knobs) > 1 else None
    return nothing._replace(excerpts=excerpts, figures=_figures(excerpts), model=model, target=target, at=middle,
                            captured=device is not None, maps=maps, decays=decays, missing=tuple(missing))  # fmt: skip


# --- material ---------------------------------------------------------------------------------------------------------


def material(run: Run) -> tuple[str, list[Pair], Pair]:
    """A part's name, up to three of its recordings at knobs wide apart, and the middle one whole.

    The part is the one that nothing was learned from, if there is one. Raises TrainerError.
    """
    if run.data.effect and not run.data.leave_out:
        pairs = reference.pairs(run.data, _strategy(run), run.seed, MOST_PAIRS)  # no need to render them all
    else:
        pairs = recipes.recordings(run)
    parts = recipes.divided(pairs, run, context=pairs[0].rate)._asdict()
    part = next(name for name in ("test", "validation", "train") if parts[name])
    there = sorted(parts[part], key=lambda pair: list(pair.knobs.values()))
    numbers = np.unique(np.linspace(0, len(there) - 1, min(MOST_PAIRS, len(there))).round().astype(int))
    chosen = [_shortened(there[n]) for n in numbers]
    return part, chosen, next(pair for pair in pairs if pair.name == chosen[len(chosen) // 2].name)


def _strategy(run: Run) -> str:
    return run.strategy if run.recipe == "conditioning" else "linear"


def _shortened(pair: Pair) -> Pair:
    """At most 20 s after the lead; whole pieces."""
    length = round(LONGEST_S * pair.rate)
    if pair.piece:
        length = max(pair.piece, length - length % pair.piece)
    return data.cut(pair, pair.lead, min(len(pair.dry), pair.lead + length), pair.lead, pair.part)


def excerpt(effect: Effect, pair: Pair, warm_up: int) -> Excerpt:
    """A recording through a model, without the samples that only settle it."""
    y = finish.play(effect, pair)
    inside = finish.counted(effect, pair, warm_up)
    name = ", ".join(f"{knob} {_value(pair, knob):.3g}" for knob in pair.knobs)
    return Excerpt(name, pair.knobs, pair.rate, pair.dry[inside], pair.wet[inside], y[inside])


def _value(pair: Pair, knob: str) -> float:
    low, high = pair.ranges.get(knob, (0.0, 1.0))
    return low + (high - low) * pair.knobs[knob]


def clip(excerpt: Excerpt, seconds: float = CLIP_S) -> Excerpt:
    """The passage of so many seconds in which the target is loudest."""
    length = round(seconds * excerpt.rate)
    if len(excerpt.dry) <= length:
        return excerpt
    energy = np.concatenate([[0.0], np.cumsum(excerpt.target.astype(np.float64) ** 2)])
    hop = max(1, excerpt.rate // 10)
    starts = np.arange(0, len(excerpt.dry) - length + 1, hop)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    inside = slice(start, start + length)
    return excerpt._replace(dry=excerpt.dry[inside], target=excerpt.target[inside], model=excerpt.model[inside])


def _warm_up(run: Run | None) -> int:
    try:
        return config.schedule(recipes.PRESETS[run.recipe][run.preset].schedule, run).warm_up if run else 0
    except (KeyError, TrainerError):
        return config.Schedule().warm_up


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(excerpts: list[Excerpt]) -> dict[str, dict[str, float]]:
    """Means over the excerpts: of the model, of the dry signal, and of the dry signal at the best volume."""
    if not excerpts:
        return {}
    rows: dict[str, list[dict[str, float]]] = {"model": [], "best volume": [], "nothing": []}
    for each in excerpts:
        gain = np.vdot(each.dry, each.target) / max(float(np.vdot(each.dry, each.dry)), 1e-12)
        for row, y in zip(rows, (each.model, np.float32(gain) * each.dry, each.dry), strict=True):
            rows[row].append(compared(y, each.target, each.rate))
    return {row: {key: float(np.mean([one[key] for one in found])) for key in found[0]} for row, found in rows.items()}


def compared(y: np.ndarray, target: np.ndarray, rate: int) -> dict[str, float]:
    """`metrics.compare` and the difference of the means, `dc`."""
    y, target = np.asarray(y, np.float32), np.asarray(target, np.float32)
    dc = float(np.mean(y, dtype=np.float64) - np.mean(target, dtype=np.float64))
    return {**metrics.compare(y, target, rate), "dc": dc}


def spectra(excerpt: Excerpt) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Average levels of pitches, twelfths of an octave wide: `Hz [P]`, and dB `[P]` of dry, target, model and error."""
    from scipy.signal import welch

    size = min(8192, len(excerpt.dry))
    signals = {"dry": excerpt.dry, "target": excerpt.target, "model": excerpt.model}
    signals["error"] = excerpt.model - excerpt.target
    hz = np.geomspace(30.0, 0.45 * excerpt.rate, 160)
    edges = np.outer(hz, [2 ** (-1 / 24), 2 ** (1 / 24)]) * size / excerpt.rate
    first = np.minimum(np.floor(edges[:, 0]).astype(int), size // 2 - 1)
    last = np.clip(np.ceil(edges[:, 1]).astype(int), first + 1, size // 2 + 1)
    found = {}
    for name, signal in signals.items():
        power = welch(np.asarray(signal, np.float64), excerpt.rate, nperseg=size, scaling="spectrum")[1]
        sums = np.concatenate([[0.0], np.cumsum(power)])
        found[name] = 10 * np.log10(np.maximum((sums[last] - sums[first]) / (last - first), 1e-16))
    return hz, found


def heard_gain(excerpt: Excerpt) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """How much louder each pitch comes out than it goes in, in the recording: Hz, and dB of target and model.

    NaN where next to nothing goes in.
    """
    hz, levels = spectra(excerpt)
    audible = levels["dry"] > levels["dry"].max() - 60
    return hz, {name: np.where(audible, levels[name] - levels["dry"], np.nan) for name in ("target", "model")}


# --- answers to test signals ------------------------------------------------------------------------------------------


def playing(effect: Effect) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`play(x [N], knobs [K] 0..1) -> [N]`."""
    return lambda x, knobs: np.asarray(apply(effect, np.asarray(x, np.float32), np.asarray(knobs, np.float32)))


def at(effect: Effect, knobs: dict[str, float]) -> Play:
    """The effect with its knobs held at these places, the others at their defaults."""
    names = {knob.name for knob in effect.knobs}
    still = positions(effect, {name: place for name, place in knobs.items() if name in names})
    play = playing(effect)
    return lambda x: play(x, still)


def _known(run: Run, knobs: dict[str, float], rate: int) -> Play:
    """The target where it is a known effect, at the amount that belongs to the knob's place."""
    effect = reference.named(run.data.effect)
    place = knobs.get(reference.KNOB, 0.0)
    amount = min(reference.table(_strategy(run), run.seed), key=lambda row: abs(row[0] - place))[1]
    return lambda x: np.asarray(effect(np.asarray(x, np.float32), rate, amount))


# --- what knobs do ----------------------------------------------------------------------------------------------------


def _steered(found: Found) -> bool:
    return type(found.effect).__name__ == "SteerableTCN" or (found.run is not None and found.run.recipe == "steer")


def _ring(effect: Effect, rate: int) -> int:
    """Samples in which an impulse dies away: after its receptive field a network rests, but for rounding."""
    return min(4 * rate, effect.receptive_field or 2 * rate)


def _passage(excerpts: list[Excerpt], rate: int) -> np.ndarray:
    """A second and a half of music: the material's, else plucked notes."""
    if excerpts:
        return clip(excerpts[0], 1.5).dry
    return capture_signal(rate, 24.0)[16 * rate : round(17.5 * rate)]


def maps_of(play, effect: Effect, passage: np.ndarray, rate: int, grid: int) -> Maps:
    """The first two knobs over their ranges, the others at their defaults (figure 2 of Steinmetz and Reiss 2021).

    `play(x, knobs)` is a model; `passage [N]` is what loudness is measured with.
    """
    from scipy.signal import butter, sosfilt

    places = np.linspace(0, 1, grid)
    lufs, dense, t60 = (np.full((grid, grid), np.nan) for _ in range(3))
    impulse = np.zeros(SETTLED + _ring(effect, rate), np.float32)
    impulse[SETTLED] = 1.0
    low_cut = butter(2, 20.0, "highpass", fs=rate, output="sos")
    for row, second in enumerate(places):
        for column, first in enumerate(places):
            knobs = default_positions(effect)
            knobs[:2] = first, second
            y = play(passage, knobs).astype(np.float64)
            y = np.asarray(sosfilt(low_cut, y - y[0]))
            loud = metrics.loudness(y, rate)
            lufs[row, column] = loud if np.isfinite(loud) else np.nan
            dense[row, column] = lufs[row, column] - 20 * np.log10(max(float(np.abs(y).max()), 1e-9))
            t60[row, column] = metrics.t60(ringing(play(impulse, knobs)), rate)
    limits = tuple((knob.low, knob.high) for knob in effect.knobs[:2])
    names = effect.knobs[0].name, effect.knobs[1].name
    return Maps(names, limits, lufs, dense, t60)  # pyright: ignore[reportArgumentType]


def ringing(y: np.ndarray) -> np.ndarray:
    """What an impulse after `SETTLED` samples of silence leaves, without what the effect says to silence."""
    return y[SETTLED:].astype(np.float64) - float(np.mean(y[SETTLED // 2 : SETTLED]))


def decays_of(play, knobs: np.ndarray, rate: int, length: int) -> list[tuple[float, np.ndarray]]:
    """Energy decays of impulses at several levels (figure 3 of Steinmetz and Reiss 2021): `(level dB, dB [length])`."""
    found = []
    for level in LEVELS_DB:
        impulse = np.zeros(SETTLED + length, np.float32)
        impulse[SETTLED] = 10 ** (level / 20)
        found.append((level, metrics.energy_decay(ringing(play(impulse, knobs)))))
    return found
