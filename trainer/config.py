"""run.toml as values: what to learn from, what to learn, and for how long."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec


class TrainerError(Exception):
    """A run cannot be started or carried on; the text names the file, the value and the remedy."""


def unwritten(path: Path, error: OSError) -> TrainerError:
    """What to say of a file of a run that cannot be written: the disk is full, mostly."""
    why = f"{path}: cannot be written: {error.strerror or error}"
    return TrainerError(f"{why}; make room there and start again, which goes on from the last checkpoint")


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to learn from: a dry and a wet file, a folder of a parametric effect, or a dry file and a known effect."""

    dry: str = ""
    wet: str = ""
    folder: str = ""
    effect: str = ""  # see trainer.reference
    control: str = ""  # a file with further inputs, an LFO; "channels": those of the dry file after its first
    channel: str | int = "auto"
    delay: str | int = "auto"  # samples by which the wet file is late
    rate: int | None = None  # Hz; resampled to it
    piece: int | None = None  # samples of each independent recording inside the files; None: found, 0: one
    validation: float = 0.2  # of each recording: what the best weights are chosen by
    test: float = 0.0  # of each recording: seen only at the end
    leave_out: dict[str, float] = {}  # a knob's position to test by alone, as in { gain = 0.5 }
    ranges: dict[str, tuple[float, float]] = {}  # what 0 and 1 of a knob are in the file names
    force: bool = False  # train although the checks say no
    licence: str = ""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to learn, and for how long. `steps` decides the schedule where it is given, else the clock."""

    steps: int = 0
    seconds: float = 300.0  # a run ends by then, whatever its steps; 0: only by its steps
    clock: Literal["wall", "cpu"] = "wall"  # cpu: the cores' time at work, which others on the machine take nothing of
    learning_rate: float = 5e-3
    decay: Literal["constant", "cosine", "drops", "plateau"] = "cosine"
    rise: float = 0.02  # fraction of the run in which the rate rises from zero
    weight_decay: float = 0.0
    clip: float = 1.0  # longest gradient
    batch: int = 60  # segments side by side
    segment: int = 22050  # samples of a segment that are learned from
    chunk: int = 2048  # of a recurrent network: samples between two updates; the state is carried from one to the next
    warm_up: int = 1000  # samples before a segment, which settle the state of a recurrent network
    fixed: bool = False  # always the same segment, the first that has its whole past
    early: float = 0.0  # fraction of the run in which the relative mean absolute error is added to the loss; longer
    # where the model still plays upside down
    standardise: bool = False  # of a steerable_tcn: the first weights by what they hear, and steps of their size
    average: float = 0.0  # fraction of the steps so far over whose weights the model is the mean; 0: the last ones
    patience: int = 0  # validations without a better one before the run ends; 0: never
    validate_every: int = 0  # steps; 0: about sixty times in a run, or as often as there are checkpoints
    checkpoint_every: float = 30.0  # seconds
    choose: Literal["best", "last"] = "best"  # the weights that are kept


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run. Paths are relative to the run file's folder."""

    out: str
    data: Data
    recipe: Literal["capture", "parametric", "steer", "conditioning"] = "capture"
    preset: str = "fast"
    network: dict[str, Any] = {}  # kind, its settings, size (wavenet), taper (lstm, gru), over the preset's
    schedule: dict[str, Any] = {}  # over the preset's
    loss: dict[str, float] = {}  # instead of the preset's
    preemphasis: str | float | None = None
    strategy: str = "linear"  # of conditioning
    seed: int = 0
    start_from: str = ""  # a model file whose weights to start with
    reroll: bool = False  # new controls for the steered sound of `start_from`; nothing is trained
    target_esr: float = 0.0  # stop when the validation reaches it


LIMITS = {
    "seconds": (0.0, 7 * 86400.0),
    "steps": (0, 100_000_000),
    "learning_rate": (1e-7, 1.0),
    "rise": (0.0, 1.0),
    "early": (0.0, 1.0),
    "average": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "clip": (1e-6, 1e6),
    "batch": (1, 4096),
    "segment": (64, 1 << 22),
    "chunk": (16, 1 << 16),
    "warm_up": (0, 1 << 16),
    "checkpoint_every": (0.0, 86400.0),
}


def load(path: Path) -> Run:
    """Read a run file. Raises TrainerError naming the file, the key and what is allowed."""
    try:
        run = msgspec.convert(tomllib.loads(path.read_text()), Run)
    except OSError as error:
        raise TrainerError(f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise TrainerError(f"{path}: {in_words(error, Run, Data)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainerError(f"{path}: {error}") from None
    data = run.data
    wanted = "[data] needs dry and wet, or folder, or dry and effect"
    sources = [bool(data.dry and data.wet), bool(data.folder), bool(data.dry and data.effect)]
    if sum(sources) != 1 and not run.reroll:
        raise TrainerError(f"{path}: {wanted}")
    if not (0 <= data.validation < 1 and 0 <= data.test < 1 and data.validation + data.test < 1):
        raise TrainerError(f"{path}: validation = {data.validation} and test = {data.test}: must leave a rest")
    if run.reroll and not run.start_from:
        raise TrainerError(f"{path}: reroll needs start_from, the steered model to draw new controls for")

    def whole(name: str) -> str:
        return str(path.parent / name) if name and name != "channels" else name

    paths = ("dry", "wet", "folder", "control")
    data = msgspec.structs.replace(data, **{key: whole(getattr(data, key)) for key in paths})
    return msgspec.structs.replace(run, data=data, out=whole(run.out), start_from=whole(run.start_from))


def in_words(error: msgspec.ValidationError, *tables: type[msgspec.Struct]) -> str:
    """What msgspec says, where a key is not known with the keys that there are."""
    said = str(error)
    if found := re.search(r"unknown field `(.*?)`", said):
        known = sorted({key for table in tables for key in table.__struct_fields__})
        near = difflib.get_close_matches(found[1], known, 1)
        there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        return f"{found[1]}: no such key; {there}"
    return said


def schedule(preset: dict[str, Any], run: Run) -> Schedule:
    """The preset's schedule with the run's own values over it. Raises TrainerError naming the key."""
    try:
        made = msgspec.convert(preset | run.schedule, Schedule)
    except msgspec.ValidationError as error:
        raise TrainerError(f"schedule: {in_words(error, Schedule)}") from None
    for key, (low, high) in LIMITS.items():
        if not low <= getattr(made, key) <= high:
            raise TrainerError(f"schedule: {key} = {getattr(made, key)}: must be {low:g} to {high:g}")
    if not made.steps and not made.seconds:
        raise TrainerError("schedule: steps = 0 and seconds = 0: a run needs an end")
    return made
