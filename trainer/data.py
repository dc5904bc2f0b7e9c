"""Recordings as training material: dry and wet files as values, cut so that what is tested was never learned from.

Everything here is numpy, mono and float32 `[N]`; knobs are positions 0..1. `read_pair` reads two files, `read_folder` a
parametric effect, `split` divides, `segments` stacks for training. `align` finds latency and `checks` what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import checks, folders, sound
from .config import TrainerError
from .sound import Channel


class Pair(NamedTuple):
    """The same passage before and after the device."""

    dry: np.ndarray  # [N] float32
    wet: np.ndarray  # [N] float32, the latency taken out
    rate: int
    knobs: dict[str, float] = {}  # where the device's knobs stood, 0..1
    ranges: dict[str, tuple[float, float]] = {}  # what 0 and 1 of a knob are in the numbers of the files
    name: str = ""  # for messages: the wet file's
    part: str = ""  # train, validation or test where the folder says so; split() does the rest
    piece: int = 0  # samples of each independent recording that the files are made of (the state is reset); 0: one
    lead: int = 0  # first samples that are only context: they settle the state, and are not learned from or measured
    control: np.ndarray | None = None  # [N, M] further inputs of the effect (an LFO)
    delay: int = 0  # samples of latency that were taken out of the wet file
    findings: tuple[checks.Finding, ...] = ()  # what the checks found


class Split(NamedTuple):
    """Pairs to learn from, to choose by, and that nothing sees until the end. Any part may be empty but the first."""

    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]


class Segments(NamedTuple):
    """Pieces of equal length side by side."""

    dry: np.ndarray  # [S, L] float32
    wet: np.ndarray  # [S, L] float32
    knobs: np.ndarray  # [S, K] float32, in the order of `knob_names(pairs)`
    control: np.ndarray  # [S, L, M] float32; M = 0 without further inputs


def knob_names(pairs: Sequence[Pair]) -> list[str]:
    """The knobs of a parametric recording, in the order of the first file. Raises TrainerError where files differ."""
    names = list(pairs[0].knobs) if pairs else []
    for pair in pairs:
        if set(pair.knobs) != set(names):
            theirs = ", ".join(pair.knobs) or "none"
            raise TrainerError(f"{pair.name}: has knobs {theirs}; the other recordings have: {', '.join(names)}")
    return names


def read_pair(
    dry: str,
    wet: str,
    *,
    rate: int | None = None,  # resample to it; None: the dry file's
    channel: Channel = "auto",
    delay: int | str = "auto",  # samples by which the wet file is late; "auto" finds it, 0 leaves the files alone
    piece: int | None = None,  # None: found
    control: str | None = None,  # a file with further inputs, or "channels": those of the dry file after its first
    force: bool = False,  # train anyway: what the checks call bad does not stop it
) -> Pair:
    """Two files as one pair. Raises TrainerError with the bad findings of `checks`, each in words, unless `force`."""
    source, target = sound.read(dry), sound.read(wet)
    further = None
    if control == "channels":
        further = source._replace(samples=source.samples[:, 1:])
        source = source._replace(samples=source.samples[:, :1])
    elif control:
        further = sound.read(control)
    report = checks.examine(source, target, rate=rate, channel=channel, delay=delay)
    if report.bad and not force:
        reasons = "".join(f"\n  {finding}" for finding in report.bad)
        raise TrainerError(f"{wet}: cannot be learned from as it is (force = true trains anyway):{reasons}")
    if len(report.dry) == 0:
        raise TrainerError(f"{wet}: nothing is left once the delay of {report.delay} samples is taken out")
    inputs = None
    if further is not None:
        samples = sound.resample(further.samples, further.rate, report.rate)
        if samples.shape[1] == 0 or len(samples) < 0.9 * len(report.dry):
            raise TrainerError(f"{control or dry}: its control signals must be as long as the dry file")
        inputs = np.zeros((len(report.dry), samples.shape[1]), np.float32)
        start = max(0, -report.delay)
        inputs[: len(samples) - start] = samples[start : start + len(inputs)]
    regular = next((f for f in report.findings if f.kind == "pieces"), None)
    if piece is None:
        piece = checks.piece_length(report.dry) if regular else 0
    return Pair(
        report.dry.astype(np.float32),
        report.wet.astype(np.float32),
        report.rate,
        name=str(wet),
        piece=piece,
        control=inputs,
        delay=report.delay,
        findings=tuple(report.findings),
    )


def read_folder(
    folder: str,
    *,
    match: str = "*",  # of the wet files' names, where a folder holds several effects
    rate: int | None = None,
    channel: Channel = "auto",
    delay: int | str = "auto",
    piece: int | None = None,
    ranges: folders.Ranges | None = None,  # what 0 and 1 of a knob are; else written down, or the extremes in the files
    force: bool = False,
) -> list[Pair]:
    """All pairs of a parametric effect, in any layout of `folders`. Raises TrainerError."""
    found, known = folders.entries(folder, match)
    limits = folders.ranges_of(found, known | (ranges or {}))
    pairs = []
    for entry in found:
        more = entry.channels and sound.channels(str(entry.dry)) > 1
        pair = read_pair(
            str(entry.dry),
            str(entry.wet),
            rate=rate or (pairs[0].rate if pairs else None),
            channel=channel,
            delay=delay,
            piece=piece,
            control="channels" if more else None,
            force=force,
        )
        knobs = folders.positions(entry.knobs, limits, str(entry.wet))
        pairs.append(pair._replace(knobs=knobs, ranges=limits, part=entry.part))
    return pairs


def cut(pair: Pair, start: int, stop: int, context: int = 0, part: str = "") -> Pair:
    """Samples `start` to `stop` with up to `context` samples before them as its lead."""
    lead = min(context, start)
    inside = slice(start - lead, stop)
    control = None if pair.control is None else pair.control[inside]
    return pair._replace(dry=pair.dry[inside], wet=pair.wet[inside], control=control, lead=lead, part=part)


def split(pairs: Sequence[Pair] | Pair, validation: float = 0.2, test: float = 0.0, *, context: int = 0) -> Split:
    """Divide recordings so that nothing leaks: train, then validation, then test, at the same times in every pair.

    The same time matters as pairs of one effect share their dry file: what is tested at one knob value must not have
    been heard at another. Recordings made of pieces are divided by whole pieces, spread evenly. Pairs whose folder says
    which part they are stay there. `context` samples before a part come with it as its `lead`.
    """
    pairs = [pairs] if isinstance(pairs, Pair) else list(pairs)
    if not pairs or not 0 <= validation < 1 or not 0 <= test < 1 or validation + test >= 1:
        raise TrainerError(f"split: {len(pairs)} recordings, validation {validation}, test {test}: must leave a rest")
    done = Split([], [], [])
    for pair in pairs:
        if pair.part:
            getattr(done, pair.part).append(pair)
        elif pair.piece:
            _split_pieces(pair, validation, test, done)
        else:
            length = len(pair.dry)
            first, second = round(length * (1 - validation - test)), round(length * (1 - test))
            done.train.append(cut(pair, 0, first, part="train"))
            if second > first:
                done.validation.append(cut(pair, first, second, context, "validation"))
            if length > second:
                done.test.append(cut(pair, second, length, context, "test"))
    return done


def _split_pieces(pair: Pair, validation: float, test: float, done: Split) -> None:
    count = len(pair.dry) // pair.piece
    tested = _spread(np.arange(count), test)
    rest = np.setdiff1d(np.arange(count), tested)
    chosen = _spread(rest, validation / (1 - test))
    for part, which in (("train", np.setdiff1d(rest, chosen)), ("validation", chosen), ("test", tested)):
        if len(which):
            take = lambda x: x[: count * pair.piece].reshape(count, pair.piece, *x.shape[1:])[which]  # noqa: B023, E731
            whole = {"dry": take(pair.dry).reshape(-1), "wet": take(pair.wet).reshape(-1)}
            control = None if pair.control is None else take(pair.control).reshape(-1, pair.control.shape[1])
            getattr(done, part).append(pair._replace(**whole, control=control, part=part))


def _spread(items: np.ndarray, fraction: float) -> np.ndarray:
    """Every n-th item, the last of each n: with 0.2 the fifth, the tenth, ..."""
    steps = np.floor((np.arange(len(items) + 1)) * fraction + 1e-9)
    return items[np.diff(steps) > 0]


def segments(pairs: Sequence[Pair] | Pair, length: int) -> Segments:
    """All whole segments of all pairs; none crosses from one piece to the next, a lead is left out."""
    pairs = [pairs] if isinstance(pairs, Pair) else list(pairs)
    names = knob_names(pairs)
    dry, wet, knobs, control = [], [], [], []
    for pair in pairs:
        piece = pair.piece or len(pair.dry)
        starts = [
            at + begin
            for at in range(0, len(pair.dry) - piece + 1, piece)
            for begin in range(pair.lead if at == 0 else 0, piece - length + 1, length)
        ]
        more = np.zeros((len(pair.dry), 0), np.float32) if pair.control is None else pair.control
        dry += [pair.dry[at : at + length] for at in starts]
        wet += [pair.wet[at : at + length] for at in starts]
        control += [more[at : at + length] for at in starts]
        knobs += [[pair.knobs[name] for name in names]] * len(starts)
    if not dry:
        longest = max((pair.piece or len(pair.dry) for pair in pairs), default=0)
        raise TrainerError(f"a recording of {longest} samples is shorter than one segment of {length}")
    stacked = (np.stack(dry), np.stack(wet), np.array(knobs, np.float32).reshape(len(dry), len(names)))
    return Segments(*stacked, np.stack(control))
