"""A finished or unfinished run, found again from its run file, its model file, or the folder they are in.

What a run leaves lies side by side: the model `<out>`, its records `<out>.log.jsonl`, and the run file wherever it was
written (`nafx-rack train` writes `<out>.toml`). A model file carries its run without the recordings' folders, so
that a report of a model alone looks for the recordings beside it, or where it is told to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jaxmodels import inspect, load
from jaxmodels.effect import Effect
from jaxmodels.files import ModelFileError
from jaxmodels.formats import Facts

from . import config, journal
from .config import Run, TrainerError

MODEL = ".nafx"
SOURCES = ("dry", "wet", "folder", "control")


class Found(NamedTuple):
    """All that there is of a run."""

    name: str  # for people: the model file's, without its ending
    model: Path  # where it is or would be
    run: Run | None  # its paths made whole
    effect: Effect | None
    facts: Facts | None  # what the model file says of itself: made by anybody, to be looked at before it is used
    records: list[dict[str, Any]]
    missing: tuple[str, ...]  # sentences
    audible: bool  # its recordings are there, so that target and model can be heard side by side


def find(path: Path, recordings: Path | None = None) -> list[Found]:
    """The run of a run file or a model file, all runs of a folder. Raises TrainerError where there is none."""
    if path.is_dir():
        return _folder(path, recordings)
    if not path.exists():
        raise TrainerError(f"{path}: there is no such file; give a run file (.toml), a model file or a folder of them")
    if path.suffix.lower() == ".toml":
        return [_of_run(config.load(path), recordings, path)]
    return [_of_model(path, recordings)]


def _folder(path: Path, recordings: Path | None) -> list[Found]:
    found: dict[Path, Found] = {}
    for file in sorted(path.glob("*.toml")):
        try:
            each = _of_run(config.load(file), recordings, file)
        except TrainerError:
            continue  # another kind of file, or nothing trained yet
        found.setdefault(each.model.resolve(), each)
    for file in sorted(path.glob(f"*{MODEL}")):
        if file.resolve() not in found:
            found[file.resolve()] = _of_model(file, recordings)
    if not found:
        raise TrainerError(f"{path}: no run in this folder has begun; train one: nafx-rack train RUN.toml")
    return sorted(found.values(), key=lambda each: each.name)


def _of_run(run: Run, recordings: Path | None, file: Path) -> Found:
    model = Path(run.out)
    if not model.exists() and not journal.path(model).exists():
        raise TrainerError(f"{file}: has not been trained: there is no {model.name}; nafx-rack train {file} makes it")
    run, missing = _placed(run, [recordings] if recordings else [], [file.parent, model.parent])
    return _gathered(model, run, missing, True)


def _of_model(model: Path, recordings: Path | None) -> Found:
    for file in [Path(f"{model}.toml"), model.with_suffix(".toml"), *sorted(model.parent.glob("*.toml"))]:
        try:
            run = config.load(file)
        except TrainerError:
            continue
        if Path(run.out).resolve() == model.resolve():
            return _of_run(run, recordings, file)
    _, facts = inspect(model)
    run = _told(facts.info or {}, model)
    if run is None:
        none = ["The model file does not say how it was made, and there is no run file beside it."]
        return _gathered(model, None, none, False)
    run, missing = _placed(run, [recordings] if recordings else [], [model.parent])
    return _gathered(model, run, missing, False)


def _told(info: dict[str, Any], model: Path) -> Run | None:
    """The run in a model file's words, its files beside the model."""
    try:
        run = msgspec.convert(info.get("settings"), Run)
    except msgspec.ValidationError:
        return None
    names = {key: Path(getattr(run.data, key).replace("\\", "/")).name for key in SOURCES if key != "control"}
    names["control"] = run.data.control if run.data.control == "channels" else Path(run.data.control).name
    whole = {key: str(model.parent / name) if name and name != "channels" else name for key, name in names.items()}
    return msgspec.structs.replace(run, out=str(model), data=msgspec.structs.replace(run.data, **whole))


def _placed(run: Run, first: list[Path], then: list[Path]) -> tuple[Run, list[str]]:
    """The run with its recordings where they are, looked for by name where they are not; sentences of what is gone."""
    data, missing = run.data, []
    for key in SOURCES:
        said = getattr(data, key)
        if not said or said == "channels":
            continue
        name = Path(said).name
        places = [*(folder / name for folder in first), Path(said), *(folder / name for folder in then)]
        if key == "folder":
            places[:0] = first
        there = next((place for place in places if (place.is_dir() if key == "folder" else place.is_file())), None)
        if there is None:
            missing.append(f"The recording {name} is not where it was; name its folder with --recordings to hear it.")
        else:
            data = msgspec.structs.replace(data, **{key: str(there)})
    return msgspec.structs.replace(run, data=data), missing


def _gathered(model: Path, run: Run | None, missing: list[str], trusted: bool) -> Found:
    """`trusted`: the run was read from a run file, and may start programs as a training may."""
    effect, facts, said = None, None, list(missing)
    try:
        facts = inspect(model)[1]
        effect = load(model)
    except (ModelFileError, OSError) as error:
        said.append(f"The model cannot be played: {error}." if model.exists() else f"There is no {model.name} yet.")
    records = journal.read(model)
    if not records:
        said.append(f"There is no {journal.path(model).name} beside the model, so how it learned cannot be drawn.")
    elif not any(record.get("event") == "done" for record in records):
        step = max((record["step"] for record in records if isinstance(record.get("step"), int)), default=0)
        said.append(f"The run has not come to its end; this is how far it was at step {step}.")
    audible = run is not None and effect is not None and not missing
    if run is not None and not trusted and run.data.effect.startswith(("command:", "pedalboard:")):
        audible = False
        said.append("Its target is another program, which a model file may not start; give the run file to hear it.")
    return Found(model.stem, model, run, effect, facts, records, tuple(said), audible)
