"""A job on disk: its folder, what is written down of it, its run file, its curves and its checkpoints.

jobs/ID/job.json       a `Kept`, replaced in one step
jobs/ID/run.toml       what the trainer does; run-2.toml and so on for what came after; of a sweep, its sweep file
jobs/ID/NAME.nafx      the model, the trainer's; checkpoints/0001.nafx and so on are what it was before
jobs/ID/history.jsonl  a `JobRecord` a line;  log.jsonl: what the trainer said;  pair.json, spectrum.json
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .. import paths
from ..checks import shown, text
from ..errors import RackError
from ..jobs import CHECKPOINTS, LIVE, MOST_RECORDS, PRESETS, Checkpoint, Job, JobRecord, NewJob

logger = logging.getLogger(__name__)

CHECKPOINT_S = 5.0  # between two checkpoints, where the run file does not say
LOG_TAIL = 20_000  # bytes of a log that are shown
LONGEST_MIN = 7 * 1440
VERSION = 1
T = TypeVar("T")


class JobError(RackError):
    """A job cannot be made, or not be changed so; the text says why and what to do."""


class Kept(msgspec.Struct, frozen=True):
    """What is written down of a job beyond what clients see."""

    job: Job
    version: int = VERSION
    leg: int = 1  # of its run files, the present one: a continuation has one of its own
    base_step: int = 0  # what the legs before have done
    base_seconds: float = 0.0
    deliver: str = ""  # where the user's own run file wants its model
    early: int = 0  # deaths of the trainer since the last checkpoint
    next_number: int = 1  # of a checkpoint
    words: str = ""  # of the checkpoint that the present leg makes, if it trains nothing
    seen: int = 0  # when the model file that became the last checkpoint was written, ns
    ending: str = ""  # why it was asked to stop, in words
    bound: bool = False  # its slot has played it, or was told that it will
    plateau: str = ""  # of its warnings the one that is void with the next better figure
    after: dict[str, Any] = {}  # a re-roll that waits for the end of the present leg


def folder() -> Path:
    """Where all jobs are."""
    return paths.data_folder() / "jobs"


def of(id: str) -> Path:
    """The folder of one job."""
    return folder() / id


def read_all() -> tuple[list[Kept], list[str]]:
    """Every job, in the order of the queue; and a line about each that cannot be read."""
    found, wrong = [], []
    for path in sorted(folder().glob("*/job.json")):
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            if kept.version == VERSION and kept.job.id == path.parent.name:
                found.append(kept)
            else:
                wrong.append(f"{path}: is not of this version; the job is left alone")
        except (OSError, msgspec.DecodeError, UnicodeError) as error:
            wrong.append(f"{path}: cannot be read ({error}); the job is left alone")
    return sorted(found, key=lambda kept: (kept.job.place < 0, kept.job.place, kept.job.created)), wrong


def write(kept: Kept) -> None:
    """Write a job down. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"
    if of(kept.job.id).is_dir():  # its folder may have been taken away
        paths.write_atomically(of(kept.job.id) / "job.json", data)


def remove(id: str) -> None:
    """Delete a job's folder."""
    shutil.rmtree(of(id), ignore_errors=True)


# --- a new one --------------------------------------------------------------------------------------------------------


def new(wanted: NewJob, now: str, rate: int) -> Kept:
    """Make a job's folder and run file. Raises JobError.

    What is heard while it learns is learned at the rack's rate, unless the run says another or goes on from a model: a
    resampler around it would cost the rack time, and the first checkpoint half a minute of compiling.
    """
    run, deliver = _read_run(Path(wanted.run)) if wanted.run else (_run_of(wanted), "")
    sweeps = "space" in run
    data: dict[str, Any] = (run["run"] if sweeps else run).get("data") or {}
    kind = "sweep" if sweeps else str(run.get("recipe", "capture"))
    try:
        title = good_title(wanted.title or _title(kind, data, deliver))
        own = 0.0 if sweeps else run.pop("target_esr", 0.0)  # the server's business: it may change while the job runs
        target = good_target(wanted.target_esr or own)
    except ValueError as error:
        raise JobError(f"{wanted.run or 'jobs.start'}: {error}") from None
    if not sweeps:
        run["schedule"] = {"checkpoint_every": CHECKPOINT_S} | (run.get("schedule") or {})
        if wanted.slot and not run.get("start_from"):
            run["data"] = {"rate": rate} | data
    run["out"] = f"{_slug(title)}.nafx"
    try:
        place = _free_folder(kind)
        write_run(place / "run.toml", run)
    except OSError as error:
        why = f"{folder()}: a job cannot be made: {error.strerror or error}"
        raise JobError(f"{why}; make room there, or a folder that can be written") from None
    job = Job(
        id=place.name,
        kind=kind,
        title=title,
        preset="" if sweeps else str(run.get("preset", "fast")),
        run=str(place / "run.toml"),
        model=str(place / run["out"]),
        dry=data.get("folder") or data.get("dry") or "",
        wet=data.get("wet") or "",
        target_esr=target,
        created=now,
        slot=wanted.slot,
    )
    return Kept(job, deliver=deliver)


def _run_of(wanted: NewJob) -> dict[str, Any]:
    """What is asked for as a run file says it. Raises JobError."""
    if wanted.recipe not in PRESETS:
        raise JobError(f"jobs.start: recipe {wanted.recipe!r}: must be one of {', '.join(PRESETS)}")
    if wanted.preset not in PRESETS[wanted.recipe]:
        there = ", ".join(PRESETS[wanted.recipe])
        raise JobError(f"jobs.start: preset {wanted.preset!r}: {wanted.recipe} has {there}")
    if not wanted.run and not (wanted.dry and (wanted.wet or wanted.effect) or wanted.folder):
        raise JobError("jobs.start: choose a dry and a wet recording, or a folder of recordings")
    if not 0 <= wanted.minutes <= LONGEST_MIN or wanted.steps < 0:
        said = f"minutes = {wanted.minutes:g}, steps = {wanted.steps}"
        raise JobError(f"jobs.start: {said}: minutes must be 0 to {LONGEST_MIN}, steps 0 or more")
    for name in ("dry", "wet", "folder", "start_from"):
        path = getattr(wanted, name)
        if path and not os.path.exists(path):
            raise JobError(f"jobs.start: {name} = {path}: there is no such file; choose it again")
    data = {name: getattr(wanted, name) for name in ("dry", "wet", "folder", "effect", "licence", "force")}
    run: dict[str, Any] = {"recipe": wanted.recipe, "preset": wanted.preset, "seed": wanted.seed}
    run["data"] = {name: value for name, value in data.items() if value}
    if wanted.start_from:
        run["start_from"] = wanted.start_from
    run["schedule"] = budget(wanted.minutes, wanted.steps)
    if wanted.size:
        tcn = wanted.recipe == "steer" or "tcn" in wanted.preset
        run["network"] = {"width" if tcn else "hidden": wanted.size}
    for key, value in wanted.run_keys.items():
        both = isinstance(value, dict) and isinstance(run.get(key), dict)
        run[key] = run[key] | value if both else value
    return run


def budget(minutes: float, steps: int) -> dict[str, Any]:
    """How long to train, as the schedule of a run says it; nothing where nothing is said."""
    if minutes:
        return {"seconds": 60.0 * minutes, "steps": steps}
    return {"steps": steps, "seconds": 0.0} if steps else {}


def _read_run(path: Path) -> tuple[dict[str, Any], str]:
    """A user's run or sweep file with whole paths, and where it wants its model. Raises JobError."""
    run, home = _read_toml(path), path.absolute().parent
    if not isinstance(run.get("out"), str):
        raise JobError(f"{path}: needs out, the model file to write; see nafx-rack train --help")
    if "space" not in run:
        return _whole(run, path), str(home / run["out"])
    said = run.get("run")
    inner, where = (_read_toml(home / said), home / said) if isinstance(said, str) else (said, path)
    if not isinstance(inner, dict):
        raise JobError(f"{path}: needs run, a run file or its keys as a table; see nafx-rack sweep --help")
    run["run"] = _whole(inner, where)
    run["name"] = run.get("name") or Path(run["out"]).stem
    for name in ("storage", "folder"):
        if isinstance(run.get(name), str) and run[name] and "://" not in run[name]:
            run[name] = str(home / run[name])
    return run, str(home / run["out"])


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: {error}") from None


def _whole(run: dict[str, Any], path: Path) -> dict[str, Any]:
    """The keys of a run file at this path, its paths made whole. Raises JobError."""
    data = run.get("data") or {}
    if not isinstance(data, dict):
        raise JobError(f"{path}: [data] must be a table; see nafx-rack train --help")
    if not isinstance(run.get("schedule", {}), dict):
        raise JobError(f"{path}: schedule must be a table, as in [schedule] with a line steps = 1000 below it")
    for table, names in ((data, ("dry", "wet", "folder", "control")), (run, ("start_from",))):
        for name in names:
            if not isinstance(table.get(name, ""), str):
                raise JobError(f"{path}: {name} = {shown(table[name])}: must be the path of a file, in quotes")
            if table.get(name, "") not in ("", "channels"):
                table[name] = str(path.absolute().parent / table[name])
    return run


def write_run(path: Path, run: dict[str, Any]) -> None:
    """Write a run file. Raises OSError."""
    import tomlkit  # slow to load, and few sessions train

    paths.write_atomically(path, tomlkit.dumps(run).encode())


def good_title(title: Any) -> str:
    """What a job can be called. Raises ValueError."""
    title = str(text(title))[:100].strip()
    if not title.isprintable() or not title:
        raise ValueError(f"{shown(title)}: a title is 1 to 100 printable characters")
    return title


def good_target(esr: Any) -> float:
    """An ESR at which a job can end. Raises ValueError."""
    if not isinstance(esr, int | float) or not 0 <= esr < 1:
        raise ValueError(f"{shown(esr)}: the target must be an ESR from 0 (none) to below 1; 0.01 is very close")
    return float(esr)


def _title(kind: str, data: dict[str, Any], deliver: str) -> str:
    named = deliver or data.get("folder") or data.get("wet") or data.get("effect") or kind
    return Path(str(named)).stem[:60] or kind


def _slug(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-.")[:60] or "model"


def _free_folder(kind: str) -> Path:
    numbers = [int(m[1]) for p in folder().glob("*") if (m := re.search(r"-(\d+)$", p.name))]
    place = of(f"{re.sub('[^a-z]', '', kind) or 'job'}-{max(numbers, default=0) + 1}")
    place.mkdir(parents=True)
    return place


def next_leg(kept: Kept, leg: int, changes: dict[str, Any]) -> Path:
    """The run file of a continuation: the first one's with `changes`, its schedule merged. Raises JobError."""
    place = of(kept.job.id)
    try:
        run = tomllib.loads(Path(kept.job.run).read_text())
        run["schedule"] = (run.get("schedule") or {}) | changes.pop("schedule", {})
        path = place / f"run-{leg}.toml"
        write_run(path, run | changes)
        for what in ("checkpoint", "stop", "pause"):
            Path(f"{kept.job.model}.{what}").unlink(missing_ok=True)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise JobError(f"{kept.job.id}: cannot go on: {error}") from None
    return path


# --- checkpoints ------------------------------------------------------------------------------------------------------


def keep_checkpoint(kept: Kept, in_use: set[str], words: str = "") -> Kept:
    """The model file as it is now as one more checkpoint, if it is new; old ones not in use go. Raises OSError."""
    job, model = kept.job, Path(kept.job.model)
    try:
        written = model.stat().st_mtime_ns
    except FileNotFoundError:
        return kept
    if written == kept.seen:
        last = job.checkpoints[-1:] if words else ()
        named = tuple(msgspec.structs.replace(each, words=each.words or words) for each in last)
        there = (*job.checkpoints[: len(job.checkpoints) - len(last)], *named)
        return msgspec.structs.replace(kept, job=msgspec.structs.replace(job, checkpoints=there)) if named else kept
    path = of(job.id) / "checkpoints" / f"{kept.next_number:04d}.nafx"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    copy(model, path)
    last = job.last or JobRecord()
    step = kept.base_step if kept.words else last.step if words else last.best_step
    fresh = Checkpoint(kept.next_number, step, str(path), None if kept.words else last.esr, kept.words or words)
    stay = (*(old for old in job.checkpoints[: 1 - CHECKPOINTS] if old.number == job.playing and not job.following),
            *job.checkpoints[1 - CHECKPOINTS :], fresh)  # fmt: skip
    for old in path.parent.glob("*.nafx"):
        if str(old) not in in_use and str(old) not in {each.path for each in stay}:
            with suppress(OSError):
                old.unlink()
    job = msgspec.structs.replace(job, checkpoints=stay)
    number = kept.next_number + 1
    return msgspec.structs.replace(kept, job=job, next_number=number, seen=written, early=0)


def copy(source: Path, to: Path) -> None:
    """Another name for a file that is only ever replaced, or else a copy of it. Raises OSError."""
    try:
        os.link(source, to)
    except OSError:
        paths.write_atomically(to, source.read_bytes())


def to_library(path: Path, name: str) -> Path:
    """A copy of a model in the user's library, under a name that is free. Raises JobError."""
    place = paths.data_folder() / "models"
    stem, number = _slug(name), 2
    to = place / f"{stem}.nafx"
    while to.exists():
        to, number = place / f"{stem}-{number}.nafx", number + 1
    try:
        paths.write_atomically(to, path.read_bytes())
    except OSError as error:
        raise JobError(f"{to}: cannot be written: {error.strerror or error}") from None
    return to


# --- figures ----------------------------------------------------------------------------------------------------------


def append(id: str, name: str, data: Any) -> None:
    """One more line. Raises OSError."""
    with open(of(id) / name, "ab") as file:
        file.write(msgspec.json.encode(data) + b"\n")


def history(id: str) -> list[JobRecord]:
    """The curves, the oldest first; where a run was taken up again from an earlier step, what it did there now."""
    found: list[JobRecord] = []
    with suppress(OSError), open(of(id) / "history.jsonl", "rb") as file:
        for line in file:
            with suppress(msgspec.DecodeError):
                record = msgspec.json.decode(line, type=JobRecord)
                while found and found[-1].step >= record.step:
                    found.pop()
                found.append(record)
    return found[:: len(found) // -MOST_RECORDS][::-1] if len(found) > MOST_RECORDS else found


def tail(id: str, name: str = "log.jsonl") -> str:
    """The last lines of a log."""
    with suppress(OSError), open(of(id) / name, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_TAIL))
        text = file.read().decode(errors="replace")
        return text if size <= LOG_TAIL else text.partition("\n")[2]
    return ""


def read_as(id: str, name: str, kind: type[T]) -> T | None:
    """A JSON file of a job, or None."""
    try:
        return msgspec.json.decode((of(id) / name).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def is_ours(path: str, id: str) -> bool:
    """Whether a model file is one of a job's."""
    return bool(path) and path.startswith(f"{of(id)}{os.sep}")


def in_queue(kept: Kept) -> bool:
    """Whether a job has a place in the queue."""
    return kept.job.state in LIVE


def write_plain(id: str, name: str, value: Any) -> None:
    """A value as a JSON file of a job. Raises OSError."""
    paths.write_atomically(of(id) / name, msgspec.json.encode(value) + b"\n")
