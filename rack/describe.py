"""A model file in plain words, for the command line and for the terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .jobs import grade
from .library import Entry

RATE = 48000  # Hz, of the rack that costs are told for


def family(format: str) -> str:
    """The family's name without its article and its suffixes: "NAM capture"."""
    bare = format.partition(" (")[0]
    for article in ("a ", "an "):
        bare = bare.removeprefix(article)
    return bare


def share(ns: float, rate: int | None = None) -> float:
    """What a sample's nanoseconds are of a core's time, in percent, at the rack's rate."""
    return ns * (rate or RATE) / 1e7


def percent(value: float) -> str:
    """0.42 %, 3.1 %, 25 %."""
    return f"{value:.2f} %" if value < 1 else f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def hertz(rate: int | None) -> str:
    """48 kHz, 44.1 kHz."""
    return f"{rate / 1000:g} kHz" if rate else ""


def size(count: int) -> str:
    """Bytes as people say them."""
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:.0f} {unit}"
    return f"{count} bytes"


def ago(then: float, now: float | None = None) -> str:
    """How long ago something was."""
    passed = max((time.time() if now is None else now) - then, 0)
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if passed >= seconds:
            count = int(passed // seconds)
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def described(entry: Entry, like_it_ns: float | None = None) -> list[tuple[str, str]]:
    """Everything known about a file as pairs of a label and words; `like_it_ns` is the cost of others of its kind."""
    facts = entry.facts

    def text(*keys: str, join: str = ", ") -> str:
        return join.join(str(facts[key]) for key in keys if facts.get(key))

    def number(key: str, words: str) -> str:
        return words.format(facts[key]) if isinstance(facts.get(key), int | float) else ""

    parameters = f"{entry.parameters:,} parameters" if entry.parameters else ""
    network = ", ".join(filter(None, (entry.architecture, parameters)))
    names = facts.get("name", "")
    said = [
        ("problem", entry.error),
        ("called", names if names and names != Path(entry.name).stem else ""),
        ("gear", text("gear")),
        ("tags", entry.tags),
        ("note", entry.notes),
        ("network", network),
        ("rate", hertz(entry.sample_rate) or ("" if entry.error else "not said")),
        ("cost", "" if entry.error else cost(entry, like_it_ns)),
        ("error", _esr(facts.get("esr"))),
        ("knobs", ", ".join(facts.get("knobs", ()))),
        ("kind", text("gear_type", "tone_type")),
        ("by", text("author")),
        ("licence", text("licence")),
        ("format", family(entry.format)),
        ("sizes", _sizes(facts.get("submodels"))),
        ("loudness", number("loudness_db", "{:.1f} dB")),
        ("gain", number("gain", "{:.2f} (0 is clean, 1 squashed)")),
        ("levels", _levels(facts)),
        ("remarks", "; ".join(facts.get("notes", ()))),
        ("file", size(entry.size)),
        ("made", text("date")[:10]),
        ("used", ago(entry.used) if entry.used else ""),
    ]
    return [(label, words) for label, words in said if words]


def cost(entry: Entry, like_it_ns: float | None = None) -> str:
    """How much of a core a model takes, and how that is known."""
    if entry.cost_ns is not None:
        return f"{percent(share(entry.cost_ns))} of a core"
    if like_it_ns is not None:
        return f"about {percent(share(like_it_ns))} of a core, like others of its kind"
    return "not measured yet: play it once"


def _sizes(names: Any) -> str:
    return ", ".join(names) if isinstance(names, list | tuple) else ""


def _esr(esr: Any) -> str:
    return f"ESR {esr:.2g}, {grade(esr)}" if isinstance(esr, int | float) else ""


def _levels(facts: dict[str, Any]) -> str:
    said = (("in", facts.get("input_level_dbu")), ("out", facts.get("output_level_dbu")))
    return ", ".join(f"{way} {value:g} dBu" for way, value in said if isinstance(value, int | float))
