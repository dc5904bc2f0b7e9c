"""Readers of model files, our own and other programs', one module a format, and here what they all need.

A reader is `read(source, options) -> Effect`: it takes a file that `files.load` has opened, unpacked and recognised,
and what the caller insists on. `facts(source) -> Facts` tells what the file says of itself without building anything.
Both raise ModelFileError, nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000  # Hz, that a model may be made for
LARGEST_FILE = 256 * 2**20  # bytes
LARGEST_UNPACKED = 64 * 2**20  # bytes that gzip makes of a file, all its layers together
LARGEST_JSON = 64 * 2**20  # bytes; parsed, a list of numbers takes ten times the room


class ModelFileError(ValueError):
    """A model file that cannot be read or written; the text names the file, the field, the value and the remedy."""


@dataclass(frozen=True)
class Source:
    """An opened model file: where it was, its unpacked bytes (none for a folder), and its JSON where it is that."""

    path: Path
    data: bytes = b""
    document: Any = None

    @property
    def name(self) -> str:
        """The name by which error messages call it."""
        return self.path.name or str(self.path)

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the JSON object, if it is one."""
        return frozenset(self.document) if isinstance(self.document, dict) else frozenset()


@dataclass(frozen=True)
class Options:
    """What the caller of `load` insists on."""

    sample_rate: int | None = None  # Hz, over what the file says; None: what it says, or the usual rate of its family
    submodel: int | None = None  # which network of a container; None: the largest
    fast_tanh: bool = False  # NAM: the approximation of tanh that its plug-in plays, instead of what the file says


@dataclass(frozen=True)
class Facts:
    """What a model file says of itself; None where it is silent."""

    architecture: str = ""  # "WaveNet 16x10 + 8x10", "LSTM 1x16": kind and size, short
    sample_rate: int | None = None  # Hz
    knobs: tuple[str, ...] = ()
    submodels: tuple[str, ...] = ()  # of a container, in its order
    parameters: int | None = None
    name: str | None = None
    author: str | None = None
    gear: str | None = None  # make and model
    gear_type: str | None = None
    tone_type: str | None = None
    licence: str | None = None
    date: str | None = None  # ISO 8601
    loudness_db: float | None = None  # RMS of the output for NAM's test signal
    gain: float | None = None  # 0 linear .. 1 wholly compressed
    input_level_dbu: float | None = None  # of a 1 kHz sine of 0 dBFS peak
    output_level_dbu: float | None = None
    esr: float | None = None  # as its trainer measured it
    notes: tuple[str, ...] = ()  # anything a reader wants people to know
    info: dict[str, Any] | None = None  # our own files: all that their maker wrote, as JSON


def parse_json(text: bytes, name: str) -> Any:
    """The value of a JSON text in UTF-8. NaN and Infinity are no JSON here; of equal keys the last one counts."""

    def refuse(literal):
        raise ValueError(f"it holds {literal}, which is not a number; export the model again")

    if len(text) > LARGEST_JSON:
        raise ModelFileError(f"{name}: JSON of more than {LARGEST_JSON // 2**20} MiB, which no model is")
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError:
        raise ModelFileError(f"{name}: not a model file: its JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise ModelFileError(f"{name}: not UTF-8 text ({where}); download it again") from error
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{name}: broken JSON ({error}); is the file complete? download it again") from error
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}") from error


def tensor(value: Any, name: str, field: str) -> np.ndarray:
    """Nested lists of numbers as a float32 array; raises ModelFileError where they are anything else."""

    def shape_of(node, depth=0):
        if depth > 8:
            raise ModelFileError(f"{name}: {field} is nested more than 8 deep; this is no tensor")
        if not isinstance(node, list):
            if type(node) not in (int, float):
                raise ModelFileError(f"{name}: {field} holds {shown(node)}, which is no number; export it again")
            return ()
        shapes = {shape_of(item, depth + 1) for item in node}
        if len(shapes) > 1:
            raise ModelFileError(f"{name}: {field} has rows of unequal length {shown(sorted(shapes))}; export it again")
        return (len(node), *next(iter(shapes), ()))

    shape_of(value)
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, np.float64).astype(np.float32)
    except OverflowError:
        array = np.array(np.inf)
    if not np.isfinite(array).all():
        raise ModelFileError(f"{name}: {field} holds a number too large for float32; export a model that has converged")
    return array


def shown(value: Any, longest: int = 40) -> str:
    """A value for an error message: its beginning, however large it is."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**longest:
        return "a huge whole number"
    text = repr(value[: longest + 1] if isinstance(value, str) else value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
