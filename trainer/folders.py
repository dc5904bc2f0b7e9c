"""Folders of recordings of one parametric effect: which files belong together, and where the knobs stood.

Four layouts, looked for in this order; only names are read here, `data.read_folder` reads the sound.

- a CSV with a column `wet` (and `dry`, `part`), every other column a knob, its range after the name: `gain [0..10]`;
- SignalTrain: `input_7_.wav` and `target_7_LA2A__0__65.wav`, names and ranges of the knobs in `effect_info.ini`;
- CoreAudioML and SuperKnob: `NAME-input.wav` and `NAME-target.wav` or `VALUE-NAME-target.wav`; where the input has
  further channels, they are inputs of the effect;
- anything with `dry` and `wet` in the names, as in `klon_dry.wav` and `klon_wet_gain025_tone0.5.wav`; three digits
  without a point are hundredths.

The second and third may lie in folders called train, val or validation, and test.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .config import TrainerError

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SOUNDS = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")
Ranges = dict[str, tuple[float, float]]


class Entry(NamedTuple):
    """One pair of files."""

    dry: Path
    wet: Path
    knobs: dict[str, float]  # in the numbers of the files
    part: str = ""
    channels: bool = False  # whether the dry file may hold further inputs


def entries(folder: str, match: str = "*") -> tuple[list[Entry], Ranges]:
    """All pairs of a folder whose wet file matches a pattern, and the knobs' ranges as far as they are written down.

    Raises TrainerError where there are none, or a file has no partner.
    """
    top = Path(folder)
    if not top.is_dir():
        raise TrainerError(f"{folder}: is no folder")
    for layout in (_table, _signal_train, _targets, _named):
        found, ranges = layout(top)
        found = [entry for entry in found if entry.wet.match(match)]
        if found:
            return _same_knobs(found, top), ranges
    raise TrainerError(
        f"{folder}: no pairs of recordings match {match!r}; name them dry.wav and wet_gain0.5.wav, or NAME-input.wav "
        "and 0.5-NAME-target.wav, or list them in a CSV with the columns dry, wet and one for each knob"
    )


def positions(knobs: dict[str, float], ranges: Ranges, name: str) -> dict[str, float]:
    """Knob values as positions 0..1."""
    placed = {}
    for knob, value in knobs.items():
        low, high = ranges[knob]
        placed[knob] = (value - low) / (high - low)
        if not -1e-6 <= placed[knob] <= 1 + 1e-6:
            raise TrainerError(f"{name}: {knob} = {value:g} lies outside of its range {low:g}..{high:g}")
    return placed


def ranges_of(found: list[Entry], known: Ranges) -> Ranges:
    """What is known, 0..1 for knobs that stay inside, else the extremes in the files."""
    ranges = {}
    for knob in found[0].knobs:
        values = [entry.knobs[knob] for entry in found]
        low, high = min(0.0, *values), max(1.0, *values)
        ranges[knob] = known.get(knob) or ((0.0, 1.0) if (low, high) == (0.0, 1.0) else (min(values), max(values)))
        if not ranges[knob][0] < ranges[knob][1]:
            raise TrainerError(f"{found[0].wet.parent}: the range of {knob} is empty; give it as {knob} = [low, high]")
    return ranges


def _same_knobs(found: list[Entry], top: Path) -> list[Entry]:
    names = set(found[0].knobs)
    for entry in found:
        if set(entry.knobs) != names:
            theirs, others = (", ".join(sorted(each)) or "none" for each in (entry.knobs, names))
            raise TrainerError(f"{entry.wet}: has the knobs {theirs}; other files of {top.name} have {others}")
        if not entry.dry.is_file() or not entry.wet.is_file():
            missing = entry.wet if entry.dry.is_file() else entry.dry
            raise TrainerError(f"{missing}: is missing; its partner is there")
    return found


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS and path.is_file())


def _parts(top: Path) -> Iterator[tuple[Path, str]]:
    """The folder itself and its folders for training, validation and test."""
    yield top, ""
    for folder in sorted(path for path in top.iterdir() if path.is_dir()):
        if folder.name.lower() in PARTS:
            yield folder, PARTS[folder.name.lower()]


# --- layouts ----------------------------------------------------------------------------------------------------------


def _table(top: Path) -> tuple[list[Entry], Ranges]:
    found, ranges = [], {}
    for path in sorted(top.glob("*.csv")):
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        if not rows or "wet" not in rows[0]:
            continue
        for line, row in enumerate(rows, 2):
            knobs = {}
            for title, value in row.items():
                if title in ("dry", "wet", "part") or not title:
                    continue
                name, low, high = re.fullmatch(r"(.*?)\s*(?:\[\s*(\S+?)\s*\.\.\s*(\S+?)\s*\])?", title).groups()  # type: ignore[union-attr]
                knobs[name] = _number(value, f"{path}: line {line}: {name}")
                if low is not None:
                    ranges[name] = (_number(low, f"{path}: {title}"), _number(high, f"{path}: {title}"))
            part = row.get("part") or ""
            if part and part not in PARTS:
                raise TrainerError(f"{path}: line {line}: part {part!r}; must be train, validation or test")
            found.append(Entry(top / (row.get("dry") or "dry.wav"), top / row["wet"], knobs, PARTS.get(part, "")))
    return found, ranges


def _number(text: str | None, where: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise TrainerError(f"{where}: {text!r} is no number") from None


def _signal_train(top: Path) -> tuple[list[Entry], Ranges]:
    found, names, ranges = [], [], {}
    info = next(iter([*top.glob("*.ini"), *top.glob("*/*.ini")]), None)
    if info:
        text = info.read_text(errors="replace")
        names, limits = (_literal(text, key) for key in ("knob_names", "knob_ranges"))
        ranges = {name: (float(low), float(high)) for name, (low, high) in zip(names, limits, strict=False)}
    for folder, part in _parts(top):
        for wet in _sounds(folder):
            name = re.fullmatch(r"target_(\d+)_.*?__(-?[\d.]+(?:__-?[\d.]+)*)", wet.stem)
            if name:
                values = [float(value) for value in name[2].split("__")]
                called = [names[i] if i < len(names) else f"knob {i + 1}" for i in range(len(values))]
                dry = folder / f"input_{name[1]}_{wet.suffix}"
                found.append(Entry(dry, wet, dict(zip(called, values, strict=True)), part))
    return found, ranges


def _literal(text: str, key: str) -> list:
    line = re.search(rf"^\s*{key}\s*[=:]\s*(\[.*\])\s*$", text, re.MULTILINE)
    try:
        return ast.literal_eval(line[1]) if line else []
    except (ValueError, SyntaxError):
        return []


def _targets(top: Path) -> tuple[list[Entry], Ranges]:
    found = []
    for folder, part in _parts(top):
        for wet in _sounds(folder):
            name = re.fullmatch(r"(?:(\d+(?:\.\d+)?)-)?(.*)-target", wet.stem)
            if name:
                knobs = {"param": float(name[1])} if name[1] else {}
                found.append(Entry(wet.with_name(f"{name[2]}-input{wet.suffix}"), wet, knobs, part, channels=True))
    return found, {}


def _named(top: Path) -> tuple[list[Entry], Ranges]:
    files = _sounds(top)
    dries = [path for path in files if _words(path) & {"dry", "input"}]
    found = []
    for wet in files:
        if not _words(wet) & {"wet", "target", "output"}:
            continue
        before, after = re.split(r"wet|target|output", wet.stem, maxsplit=1, flags=re.IGNORECASE)
        partner = [d for d in dries if re.split(r"dry|input", d.stem, flags=re.IGNORECASE)[0] == before]
        partner = partner or (dries if len(dries) == 1 else [])
        if partner:
            found.append((partner[0], wet, _settings(after) or _settings(before)))
    texts = {knob: [knobs[knob] for _, _, knobs in found if knob in knobs] for _, _, k in found for knob in k}
    hundredths = {knob for knob, values in texts.items() if all(re.fullmatch(r"\d{3}", value) for value in values)}
    entries = [
        Entry(dry, wet, {knob: float(value) / (100 if knob in hundredths else 1) for knob, value in knobs.items()})
        for dry, wet, knobs in found
    ]
    return entries, {}


def _words(path: Path) -> set[str]:
    return set(re.split(r"[^a-z]+", path.stem.lower()))


def _settings(text: str) -> dict[str, str]:
    """Knobs and the digits of their values out of a part of a name: `_gain025_tone=0.5`."""
    return {name.strip("_- "): value for name, value in re.findall(r"([A-Za-z][A-Za-z ]*)[=_-]?(\d+(?:\.\d+)?)", text)}
