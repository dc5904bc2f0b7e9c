"""What single values of racks.toml, and of the keys of the command line, may be.

Every check returns the value as it is kept, or raises ValueError saying what is allowed; whoever asks knows the name.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path

from .catalogue import KnobInfo, SettingInfo
from .paths import assets


def nearest(word: object, known) -> str:
    """`; did you mean x?`, or nothing where nothing is near."""
    found = difflib.get_close_matches(str(word), [str(k) for k in known], 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


def one_of(*allowed: str):
    """One of these words."""

    def check(value):
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}{nearest(value, allowed)}")
        return value

    return check


def whole(low: int, high: int, unit: str = ""):
    """A whole number in a range."""

    def check(value):
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high} {unit}".strip())
        return value

    return check


def text(value):
    """A text that a file and a terminal can hold."""
    good = isinstance(value, str) and len(value) <= 10_000
    if not good or any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
        raise ValueError("must be a text of at most 10000 characters")
    return value


def flag(value):
    """True or false, and nothing like it."""
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def device(value):
    """A sound device: its name, its number, or "" for the default."""
    if type(value) is int and value >= 0:
        return str(value)
    if not isinstance(value, str):
        raise ValueError('must be the name or the number of a device, or "" for the default one')
    return value


def channel_numbers(low: int):
    """Channels of a sound device, counted from 1."""

    def check(value):
        good = isinstance(value, list | tuple) and all(type(n) is int and 1 <= n <= 256 for n in value)
        if not good or not low <= len(value) <= 2 or len(set(value)) != len(value):
            raise ValueError(f"must be a list of {low} to 2 different channel numbers, counted from 1")
        return tuple(value)

    return check


def level_dbu(value):
    """The level of a sound card, a number of dBu or its text; "" where it is not known."""
    if value is None or isinstance(value, str) and value.strip().lower() in ("", "unknown", "none"):
        return None
    if isinstance(value, str):
        try:
            value = float(value[:20].lower().removesuffix("dbu"))
        except ValueError:
            value = math.nan
    if type(value) not in (int, float) or not -60 <= value <= 60:
        raise ValueError('must be a number of dBu from -60 to 60, or "" where it is not known')
    return tidy(float(value))


AUDIO = {
    "backend": one_of("auto", "portaudio", "null"),
    "input_device": device,
    "output_device": device,
    "inputs": channel_numbers(0),
    "outputs": channel_numbers(1),
    "rate": whole(8000, 192000, "Hz"),
    "block": whole(32, 2048, "samples"),
    "input_level_dbu": level_dbu,
    "output_level_dbu": level_dbu,
}


def check_setting(info: SettingInfo, value):
    """A value for a setting; whole numbers do where decimals are wanted."""
    kinds = {"int": int, "float": float, "str": str, "bool": bool}
    wanted = kinds.get(info.type, str)
    good = type(value) is wanted or (wanted is float and type(value) is int)
    if good and wanted in (int, float):
        good = abs(value) < 1 << 53 and (info.low is None or value >= info.low)  # which NaN is not either
        good = good and (info.high is None or value <= info.high)
    if not good or (info.choices and value not in info.choices):
        near = nearest(value, info.choices) if info.choices else ""
        raise ValueError(f"must be {allowed_setting(info)}{near}")
    return wanted(value)


def allowed_setting(info: SettingInfo) -> str:
    """What a setting takes, in words."""
    if info.choices:
        return "one of " + ", ".join(map(str, info.choices))
    if info.type == "bool":
        return "true or false"
    if info.type == "str":
        return "a text"
    number = "a whole number" if info.type == "int" else "a number"
    if info.low is not None and info.high is not None:
        return f"{number} from {info.low:g} to {info.high:g}"
    return number if info.low is None else f"{number} of at least {info.low:g}"


def check_knob(knob: KnobInfo, value) -> float:
    """A value for a knob in its unit: a number, or text with a unit."""
    if isinstance(value, str):
        try:
            return tidy(knob.parse(value[:100]))
        except (ValueError, OverflowError):
            raise ValueError(f"must be {knob.allowed}") from None
    if type(value) not in (int, float) or not knob.low - 1e-9 <= value <= knob.high + 1e-9:
        raise ValueError(f"must be {knob.allowed}")
    return tidy(min(max(float(value), knob.low), knob.high))


def tidy(value: float) -> float:
    """As many digits as a float32 has: what a person reads and a file keeps."""
    return float(f"{value:.7g}")


RESERVED = frozenset(
    "audio bypass compare irs jobs keys library limiter meters models morph mute notes rack racks record redo save"
    " slots snapshot snapshots source status stop superknob undo vary xy".split()
)


def good_id(value: str) -> bool:
    """Can a slot be called so? Keys are `slot.knob`, so no dots, and no word that is a key itself."""
    plain = value.replace("_", "").replace("-", "")
    return value[:1].isalpha() and plain.isascii() and plain.isalnum() and len(value) <= 40 and value not in RESERVED


def free_id(wanted: str, taken) -> str:
    """`wanted`, or the first of wanted2, wanted3, ... that is free and may be used."""
    base = "".join(c if c.isascii() and c.isalnum() or c in "_-" else "_" for c in str(wanted))[:30]
    base = base if base[:1].isalpha() else f"slot{base}"
    names = [base] if good_id(base) else []
    names += [f"{base}{n}" for n in range(2, len(taken) + 4)]
    return next(name for name in names if name not in taken)


def slot_ids(tables: list) -> list[str]:
    """The ids of a rack's slots: the file's own words where they can be used, else made from the type."""
    found: list[str] = []
    own = [table.get("id") if isinstance(table, dict) else None for table in tables]
    own = [name if isinstance(name, str) and good_id(name) else None for name in own]
    for i, table in enumerate(tables):
        name, kind = own[i], table.get("type") if isinstance(table, dict) else None
        if name is None or name in found:
            taken = set(found) | {n for n in own if n}
            name = free_id(name or (kind if isinstance(kind, str) and kind else "slot"), taken)
        found.append(name)
    return found


def find_file(value: str, folder: Path) -> Path | None:
    """A file named in racks.toml: absolute, beside the file, or among the shipped assets."""
    try:
        for base in (folder, assets()):
            path = base / Path(value).expanduser()
            if path.is_file():
                return path.absolute()
    except (OSError, ValueError, RuntimeError):  # names that no file can have
        pass
    return None


def good_name(name) -> bool:
    """Can a rack be called so?"""
    return isinstance(name, str) and 0 < len(name.strip()) and len(name) <= 64 and name.isprintable()


def shown(value) -> str:
    """A value as TOML has it, cut to what fits a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        words = f'"{value}"' if isinstance(value, str) else str(value)
    except ValueError:  # numbers of thousands of digits
        words = "a huge number"
    words = "".join(c if c.isprintable() else "?" for c in words)
    return words if len(words) <= 60 else words[:57] + "..."
