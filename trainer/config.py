"""run.toml as values: what to learn from, what to learn, and for how long."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec


class TrainerError(Exception):
    """A run cannot be started or carried on; the text names the file, the value and the remedy."""


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recurrent capture."""

    cell: Literal["lstm", "gru"] = "lstm"
    hidden: int = 16
    layers: int = 1
    skip: bool = True


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run. Paths are relative to the run file's folder."""

    dry: str
    wet: str
    out: str
    network: Network = Network()
    seconds: float = 300.0  # time box
    epochs: int = 1_000_000
    seed: int = 0
    learning_rate: float = 5e-3
    batch: int = 60  # segments side by side
    chunk: int = 2048  # samples between two updates; the state is carried from chunk to chunk
    warm_up: int = 1000  # first samples of a segment, which settle the state and are not learned from
    target_esr: float = 0.0  # stop when the validation reaches it


LIMITS = {
    "seconds": (1.0, 7 * 86400.0),
    "epochs": (1, 1_000_000),
    "learning_rate": (1e-7, 1.0),
    "batch": (1, 4096),
    "chunk": (16, 1 << 16),
    "warm_up": (0, 1 << 16),
}


def load(path: Path) -> Run:
    """Read a run file. Raises TrainerError naming the file, the key and what is allowed."""
    try:
        run = msgspec.convert(tomllib.loads(path.read_text()), Run)
    except OSError as error:
        raise TrainerError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TrainerError(f"{path}: {error}") from None
    for key, (low, high) in LIMITS.items():
        if not low <= getattr(run, key) <= high:
            raise TrainerError(f"{path}: {key} = {getattr(run, key)}: must be {low} to {high}")
    if not (1 <= run.network.hidden <= 256 and 1 <= run.network.layers <= 4):
        raise TrainerError(f"{path}: network: hidden must be 1 to 256 and layers 1 to 4")
    folder = path.parent
    return msgspec.structs.replace(run, **{key: str(folder / getattr(run, key)) for key in ("dry", "wet", "out")})
