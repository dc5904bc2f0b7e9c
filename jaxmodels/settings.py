"""How a box declares what is not a knob: fields of a frozen dataclass that say what they allow."""

from __future__ import annotations

import dataclasses
from typing import Any


def setting(default, *, low=None, high=None, choices=None, help: str = "") -> Any:
    """A field of a box's `Settings`: its default (which gives its type), what it allows, and a line about it."""
    rule = {"low": low, "high": high, "choices": choices, "help": help}
    return dataclasses.field(default=default, metadata={k: v for k, v in rule.items() if v is not None})
