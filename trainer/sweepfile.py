"""sweep.toml as values: a run file of which some values are left open, and what to try for them.

    out = "plexi.nafx"          # the best model's file
    trials = 40
    run = "plexi.toml"          # a run file, or its keys as a table [run]; its own `out` is not used

    [space]                     # any key of the run file
    network.hidden = [8, 16, 24, 32]
    network.layers = { low = 1, high = 2 }
    schedule.batch = { low = 16, high = 128, log = true }
    schedule.learning_rate = { low = 1e-3, high = 3e-2, log = true }

Several machines need one `storage`, and `steps` in the run rather than `seconds` where they differ in speed.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from . import config
from .config import Data, Run, Schedule, TrainerError

MEASURES = ("esr", "mae", "stft", "mr_stft", "mr_stft_steer")  # of a finished model, see trainer.metrics.compare
PATHS = ("dry", "wet", "folder", "control")  # of [data]
OPEN = {"network": None, "loss": None, "data": Data.__struct_fields__, "schedule": Schedule.__struct_fields__}
LIMITS = {"trials": (1, 100_000), "prune_after": (0.0, 1.0), "lost_after": (1.0, 86400.0), "seed": (0, 2**31 - 1)}
FORMS = "a list of choices, as in [8, 16], or a range, as in { low = 1e-3, high = 1e-1, log = true }"


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `low` to `high`, both included: whole numbers where both are."""

    low: int | float
    high: int | float
    log: bool = False  # every octave as likely as any other
    step: int | float | None = None


Axis = tuple | Range  # choices, or a range


class Sweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sweep. Paths are relative to the sweep file's folder."""

    out: str  # the best model
    run: str | dict[str, Any]
    space: dict[str, Any]  # in the file as the run file has it, here by dotted name
    name: str = ""  # of the study, the same for every worker; else the name of `out`
    storage: str = ""  # postgresql://..., a journal file, a .db file of SQLite; else study.db in `folder`
    folder: str = ""  # for the trials: <out>-0007.nafx, its .toml and .log.jsonl; else <out>-sweep
    trials: int = 30
    measure: str = ""  # of MEASURES, on the validation part; else esr, and mr_stft of a steered model
    prune_after: float = 0.25  # of a run; from then on it ends where the middle one of the others was better; 1: never
    seed: int = 0
    lost_after: float = 120.0  # seconds without a sign of its worker, after which a trial is done again by another


def load(path: Path) -> Sweep:
    """Read a sweep file and its run file. Raises TrainerError naming the file, the key, the value and the remedy."""
    try:
        plan = msgspec.convert(tomllib.loads(path.read_text()), Sweep)
    except OSError as error:
        raise TrainerError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TrainerError(f"{path}: {error}") from None
    for key, (low, high) in LIMITS.items():
        if not low <= getattr(plan, key) <= high:
            raise TrainerError(f"{path}: {key} = {getattr(plan, key)}: must be {low:g} to {high:g}")
    if plan.measure not in ("", *MEASURES):
        raise TrainerError(f"{path}: measure = {plan.measure!r}: must be one of {', '.join(MEASURES)}")
    if not Path(plan.out).name:
        raise TrainerError(f"{path}: out = {plan.out!r}: must be the file for the best model, as in plexi.nafx")
    try:
        space = dict(_axes(plan.space))
        if not space:
            raise TrainerError("[space] is empty; name a key of the run file and what to try for it")
        run = _run(plan.run, path)
        _check(run, space)
    except TrainerError as error:
        raise TrainerError(f"{path}: {error}") from None

    home = path.parent.absolute()
    out = home / plan.out
    storage = plan.storage if not plan.storage or "://" in plan.storage else str(home / plan.storage)
    return msgspec.structs.replace(
        plan,
        out=str(out),
        run=run,
        space=space,
        name=plan.name or out.stem,
        storage=storage,
        folder=str(home / plan.folder if plan.folder else out.with_name(f"{out.stem}-sweep")),
        measure=plan.measure or ("mr_stft" if run.get("recipe") == "steer" else "esr"),
    )


def run_of(plan: Sweep, values: dict[str, Any], out: Path) -> dict[str, Any]:
    """The run file, as a dictionary, of a trial with these values by dotted name."""
    assert isinstance(plan.run, dict)
    return {**_filled(plan.run, values), "out": str(out)}


def signature(plan: Sweep) -> str:
    """What all the workers of a study must agree on."""
    return json.dumps([plan.measure, msgspec.to_builtins(plan.space)], sort_keys=True)


def _run(said: str | dict[str, Any], path: Path) -> dict[str, Any]:
    """The keys of the run file, its paths made whole."""
    where = path
    if isinstance(said, str):
        where = path.parent / said
        config.load(where)
        said = tomllib.loads(where.read_text())
    run = copy.deepcopy(said)
    data = run.get("data", {})
    for table, keys in ((data, PATHS), (run, ("start_from",))):
        for key in keys:
            if isinstance(table, dict) and table.get(key) and table[key] != "channels":
                table[key] = str((where.parent / str(table[key])).absolute())
    if isinstance(data, dict) and data.get("validation", 1) == 0:
        raise TrainerError("run: [data] validation = 0: a sweep chooses by that part; give it some of the recording")
    if run.get("reroll"):
        raise TrainerError("run: reroll = true: nothing is trained, so there is nothing to try; remove it")
    return run


def _axes(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Axis]]:
    """Every open key by its dotted name."""
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, list):
            yield name, _choices(name, value)
        elif isinstance(value, dict) and not value.keys() & {"low", "high"}:
            yield from _axes(value, f"{name}.")
        elif isinstance(value, dict):
            yield name, _range(name, value)
        else:
            raise TrainerError(f"[space] {name} = {value!r}: must be {FORMS}; a single value belongs into the run")


def _choices(name: str, values: list) -> Axis:
    if not values:
        raise TrainerError(f"[space] {name} = []: must be {FORMS}")
    for value in values:
        if not isinstance(value, bool | int | float | str):
            raise TrainerError(f"[space] {name}: {value!r}: a choice must be a number, a word, true or false")
    if len(set(map(repr, values))) < len(values):
        raise TrainerError(f"[space] {name} = {values}: a choice is there twice; take it out")
    return tuple(values)


def _range(name: str, table: dict[str, Any]) -> Axis:
    try:
        made = msgspec.convert(table, Range)
    except msgspec.ValidationError as error:
        raise TrainerError(f"[space] {name}: {error}; must be {FORMS}") from None
    said = f"[space] {name} = {{ low = {made.low}, high = {made.high} }}"
    if not made.low < made.high:
        raise TrainerError(f"{said}: low must be below high")
    if made.log and made.low <= 0:
        raise TrainerError(f"{said}: low must be above 0 where log = true")
    if made.step is not None and (made.log or made.step <= 0):
        raise TrainerError(f"{said}: step = {made.step}: must be above 0, and goes without log")
    if isinstance(made.low, int) and isinstance(made.high, int) and not isinstance(made.step, float):
        return made
    return Range(float(made.low), float(made.high), made.log, made.step)


def _check(run: dict[str, Any], space: dict[str, Axis]) -> None:
    """Every value by itself is one that the run file takes; what the networks take is for the trainer to say."""
    for name in space:
        first, _, rest = name.partition(".")
        known = [field for field in Run.__struct_fields__ if field not in ("out", "reroll")]
        if first not in known or first in OPEN and not rest:
            raise TrainerError(f"[space] {name}: no such key; a run has: {', '.join(known)}")
        if OPEN.get(first) and rest.split(".")[0] not in OPEN[first]:
            raise TrainerError(f"[space] {name}: no such key; [{first}] has: {', '.join(OPEN[first])}")
    fixed = {name: next(_ends(axis)) for name, axis in space.items()}
    for name, axis in space.items():
        for value in _ends(axis):
            try:
                made = msgspec.convert(_filled(run, {**fixed, name: value}) | {"out": "-"}, Run)
                config.schedule({"steps": 1}, made)
            except (msgspec.ValidationError, TrainerError) as error:
                raise TrainerError(f"[space] {name} = {value!r}: {error}") from None


def _ends(axis: Axis) -> Iterator[Any]:
    yield from (axis.low, axis.high) if isinstance(axis, Range) else axis


def _filled(run: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(run)
    for name, value in values.items():
        *tables, key = name.split(".")
        table = made
        for step in tables:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise TrainerError(f"{step} = {table!r} is no table")
        table[key] = value
    return made
