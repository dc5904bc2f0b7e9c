"""What becomes of a run: a file that carries its own story, loaded again and measured before anyone is told."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import msgspec
import numpy as np

from jaxmodels import apply, load, save
from jaxmodels.effect import Effect, default_positions, positions
from jaxmodels.laws import LawBroken, verify_effect

from . import metrics
from .config import Run, TrainerError
from .data import Pair, Split

if TYPE_CHECKING:
    from .recipes import Job
    from .train import Progress

QUIET = 1e-10  # power of a recording that nothing is measured against
LAWS = {"length": 150, "blocks": (50,), "gradients": False, "flat_response": False}
LIVE = 1e-5  # a model streams within this of what it plays offline; a steered one 1e-4 of its peak


def kept(run: Run, effect: Effect, at: Progress) -> None:
    """The model file of an unfinished run."""
    save(run.out, effect, {"unfinished": True, "step": at.step, "seed": run.seed, "settings": _settings(run)})


def finished(run: Run, job: Job, effect: Effect, at: Progress, stopped: bool, report: Callable[[dict], None]) -> dict:
    """Write the file, load it, check it by the laws and by its recordings; answers with the run's last record."""
    began = time.monotonic()
    if run.recipe == "steer" and _correlation(effect, job) < 0:
        effect = effect.inverted()  # pyright: ignore[reportAttributeAccessIssue]
        report({"event": "warning", "what": "polarity", "text": "the model came out upside down and was turned round"})
    parts = {name: pairs for name, pairs in without_folders(job.pairs)._asdict().items() if pairs}
    heard = {name: pairs for name, pairs in parts.items() if name != "train"} or parts
    figures = {name: measured(effect, pairs, job.schedule.warm_up) for name, pairs in heard.items()}
    info = {
        "name": Path(run.out).stem,
        "recipe": run.recipe,
        "preset": run.preset,
        "settings": _settings(run),
        "seed": run.seed,
        "steps": at.step,
        "seconds": round(at.elapsed, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "data": [{"name": pair.name, "rate": pair.rate, "knobs": pair.knobs, "delay": pair.delay, "part": part,
                  "seconds": round((len(pair.dry) - pair.lead) / pair.rate, 3)}
                 for part, pairs in parts.items() for pair in pairs],
        "metrics": figures,
        "esr": figures[list(figures)[-1]]["esr"],
        "licence": run.data.licence,
        "loudness": {name: found.get("lufs_difference") for name, found in figures.items()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    save(run.out, effect, info)
    again = load(run.out)
    tolerance = 1e-4 if run.recipe == "steer" else LIVE
    try:
        verify_effect(again, tolerance=tolerance, **LAWS)
    except LawBroken as broken:
        raise TrainerError(f"{run.out}: does not play as it should: {broken}") from None
    part = next(iter(heard))
    esr = float(np.mean([metrics.esr(*_heard(again, pair, job.schedule.warm_up)) for pair in heard[part]]))
    if not abs(esr - figures[part]["esr"]) <= 1e-3 * max(esr, 1e-6):
        raise TrainerError(f"{run.out}: plays with ESR {esr:.4g} after loading, {figures[part]['esr']:.4g} before")
    record = {
        "event": "done", "out": run.out, "esr": info["esr"], "metrics": figures, "steps": at.step, "stopped": stopped,
        "seconds": round(at.elapsed, 2), "checking": round(time.monotonic() - began, 2),
    }  # fmt: skip
    report(record)
    return record


def rerolled(run: Run, draw: Callable[[Effect, int], Effect], report: Callable[[dict], None]) -> dict:
    """A steered model with new controls; nothing is trained."""
    effect = draw(load(run.start_from), run.seed)
    start = Path(run.start_from).name
    save(run.out, effect, {"recipe": "steer", "start_from": start, "seed": run.seed, "reroll": True})
    verify_effect(load(run.out), tolerance=1e-4, **LAWS)
    record = {"event": "done", "out": run.out, "seed": run.seed}
    report(record)
    return record


def without_folders(parts: Split) -> Split:
    """Recordings by their files' names alone: a model is passed on, and folders are nobody's business.

    Those of different folders and the same name are numbered.
    """
    said: dict[str, str] = {}
    for name in dict.fromkeys(pair.name for pairs in parts for pair in pairs):
        file = Path(name)
        alike = sum(Path(other).name == file.name for other in said)
        said[name] = f"{file.stem} ({alike + 1}){file.suffix}" if alike else file.name
    return Split(*([pair._replace(name=said[pair.name]) for pair in pairs] for pairs in parts))


def measured(effect: Effect, pairs: Sequence[Pair], warm_up: int) -> dict[str, Any]:
    """The figures of a model, played as the rack plays it: the mean over the recordings, and each one's ESR.

    The state begins afresh with each piece; a lead, or else the first `warm_up` samples of a piece, is not counted.
    """
    by_name, all_figures = {}, []
    for pair in pairs:
        y, target = _heard(effect, pair, warm_up)
        by_name[pair.name] = metrics.esr(y, target)
        all_figures.append(_figures(y, target, pair.rate))
    mean = {key: float(np.mean([figures[key] for figures in all_figures])) for key in all_figures[0]}
    return {**mean, "esr": float(np.mean(list(by_name.values()))), "by_name": by_name}


def _heard(effect: Effect, pair: Pair, warm_up: int) -> tuple[np.ndarray, np.ndarray]:
    inside = counted(effect, pair, warm_up)
    return play(effect, pair)[inside], pair.wet[inside]


def counted(effect: Effect, pair: Pair, warm_up: int) -> np.ndarray:
    """Which samples `[N]` of a recording count: not a lead, and else not those in which the state settles."""
    length = pair.piece or len(pair.dry)
    skip = pair.lead or (warm_up if effect.receptive_field is None else 0)
    inside = np.arange(len(pair.dry)) % length >= min(skip, length // 2)
    inside[: pair.lead] = False
    return inside


def play(effect: Effect, pair: Pair) -> np.ndarray:
    """A recording's dry side through a model, piece by piece."""
    still = positions(effect, pair.knobs) if pair.knobs else default_positions(effect)
    names = [knob.name for knob in effect.knobs]
    moving = None
    if pair.control is not None:
        moving = np.repeat(still[None], len(pair.dry), axis=0)
        moving[:, [n for n, name in enumerate(names) if name.startswith("lfo")]] = pair.control
    length = pair.piece or len(pair.dry)
    parts = []
    for at in range(0, len(pair.dry) - length + 1, length):
        knobs = still if moving is None else moving[at : at + length]
        parts.append(np.asarray(apply(effect, jnp.asarray(pair.dry[at : at + length]), knobs)))
    rest = np.zeros(len(pair.dry) - sum(map(len, parts)), np.float32)
    return np.concatenate([*parts, rest])


def _figures(y: np.ndarray, target: np.ndarray, rate: int) -> dict[str, float]:
    try:
        return metrics.compare(y, target, rate)
    except NotImplementedError:
        return {"esr": metrics.esr(y, target), "mae": float(np.mean(np.abs(y - target)))}


def _correlation(effect: Effect, job: Job) -> float:
    pair = job.pairs.train[0]
    return float(np.vdot(play(effect, pair), pair.wet))


def _settings(run: Run) -> dict[str, Any]:
    """The run without its paths, in JSON's terms."""
    said = msgspec.to_builtins(run)
    for key in ("dry", "wet", "folder", "control"):
        said["data"][key] = Path(said["data"][key]).name
    said["out"], said["start_from"] = Path(run.out).name, Path(run.start_from).name
    return said
