"""How a box declares what is not a knob: fields of a frozen dataclass that say what they allow."""

from __future__ import annotations

import dataclasses
from typing import Any


def setting(default, *, low=None, high=None, choices=None, help: str = "") -> Any:
    """A field of a box's `Settings`: its default (which gives its type), what it allows, and a line about it."""
    rule = {"low": low, "high": high, "choices": choices, "help": help}
    return dataclasses.field(default=default, metadata={k: v for k, v in rule.items() if v is not None})


class SettingError(ValueError):
    """A setting that a box does not have, or a value that it does not take; the text says what is allowed."""


def checked(kind: str, cls: type, settings: dict[str, Any]):
    """Settings as the box's own dataclass, every value looked at."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name, value in settings.items():
        if name not in fields:
            raise SettingError(f"{kind}: no setting {name!r}; it has: {', '.join(fields) or 'none'}")
        rule, want = fields[name].metadata, type(fields[name].default)
        good = type(value) is want or (want is float and type(value) is int)
        if not good:
            raise SettingError(f"{kind}.{name} = {value!r}: must be {want.__name__}")
        if "choices" in rule and value not in rule["choices"]:
            raise SettingError(f"{kind}.{name} = {value!r}: must be one of {', '.join(map(str, rule['choices']))}")
        if "low" in rule and not rule["low"] <= value <= rule["high"]:
            raise SettingError(f"{kind}.{name} = {value!r}: must be {rule['low']} to {rule['high']}")
    return cls(**{name: type(fields[name].default)(value) for name, value in settings.items()})
