"""`python -m trainer.sweep SWEEP.toml [--worker | --show]`: many runs with different settings, chosen by Optuna.

The study is all that the workers share: any number of them ask it for a trial, run the trainer on that, and tell it the
figure that came of it. A worker says now and then that it still lives, by raising a number in its trial; one that falls
silent, or whose process is seen to be gone, loses that trial alone: it is put back into the queue with its settings.
No clocks are compared: how long a number has stood still everyone finds out for themselves.

As in a run of the trainer, a file `<out>.stop` ends a worker beside it, and while there is a file `<out>.pause` it
waits, the trial that it is at included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import tomlkit
from optuna import Study, Trial
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from . import study as studies
from .config import TrainerError
from .study import counts
from .subrun import TICK, trained
from .sweepfile import Sweep, load, run_of

Report = Callable[[dict], None]
Train = Callable[[Path], Generator[dict | None, None, None]]

BEATS = 6  # signs of life in the time after which a worker counts as lost
HOPELESS = 3  # trials that all fail end a sweep
TRIES = 3  # of a trial that its worker never comes back from
TAKEN = "another worker has taken it over"


class Interrupted(Exception):
    """The worker was told to stop in the middle of a trial."""


def sweep(
    plan: Sweep,
    report: Report,
    *,
    worker: bool = False,
    stop: Callable[[], bool] = lambda: False,
    train: Train | None = None,
) -> None:
    """Work on a study, new or begun, until it has its trials; without `worker` its table is reported at the end.

    `train` carries out the run of a file and yields its records, or None when a while has passed without one. Raises
    TrainerError for a study that cannot be opened and where every trial fails.
    """
    Path(plan.folder).mkdir(parents=True, exist_ok=True)
    study = studies.opened(plan, alone=not worker)
    watch = Watch(plan.lost_after)
    report({
        "event": "sweep", "name": plan.name, "storage": studies.shown(plan), "folder": plan.folder,
        "measure": plan.measure, "trials": plan.trials, "ended": _ended(study),
    })  # fmt: skip

    def over() -> bool:
        return stop() or _asked(plan.out, "stop")

    while not over():
        if _asked(plan.out, "pause"):
            _wait(plan, report, over)
            continue
        taken_up(study, watch, report)
        trial = claimed(study, plan)
        if trial is not None:
            carried_out(study, trial, plan, report, over, train or trained)
        elif any(not each.state.is_finished() for each in study.get_trials(deepcopy=False)):
            time.sleep(TICK)  # others are at work; one of them may be lost
        else:
            break
    best = keep_best(study, plan)
    if not worker:
        report(studies.table(study, plan))
        if best:
            report(best)


def _asked(out: str | Path, what: str) -> bool:
    return Path(f"{out}.{what}").exists()


def _wait(plan: Sweep, report: Report, over: Callable[[], bool]) -> None:
    """Between two trials: until nobody wants a pause."""
    report({"event": "paused"})
    while _asked(plan.out, "pause") and not over():
        time.sleep(TICK)
    report({"event": "continued"})


def _ended(study: Study) -> int:
    return sum(counts(trial) and trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


# --- the queue --------------------------------------------------------------------------------------------------------


class Watch:
    """Who has fallen silent, as seen from here."""

    def __init__(self, lost_after: float):
        self.lost_after = lost_after
        self.seen: dict[int, tuple[Any, float]] = {}  # by trial: its last beat, and when that was new

    def lost(self, trials: list[FrozenTrial], now: float) -> list[FrozenTrial]:
        """The running trials whose worker is gone; `now` is a monotonic clock's."""
        found = []
        for trial in (trial for trial in trials if trial.state == TrialState.RUNNING):
            beat = trial.user_attrs.get("beat")
            if trial.number not in self.seen or self.seen[trial.number][0] != beat:
                self.seen[trial.number] = (beat, now)
            if now - self.seen[trial.number][1] > self.lost_after or _gone(trial.user_attrs.get("worker", {})):
                found.append(trial)
        return found


def taken_up(study: Study, watch: Watch, report: Report) -> None:
    """Put the trials of lost workers back into the queue."""
    for trial in watch.lost(study.get_trials(deepcopy=False), time.monotonic()):
        again = _given_back(study, trial, lost=1)
        if again is not None:
            host = trial.user_attrs.get("worker", {}).get("host", "")
            report({"event": "lost", "number": trial.number, "host": host, "again": again})


def claimed(study: Study, plan: Sweep) -> Trial | None:
    """The next trial, or None where there are enough."""
    trials = study.get_trials(deepcopy=False)
    if sum(map(counts, trials)) >= plan.trials and not any(each.state == TrialState.WAITING for each in trials):
        return None
    trial = studies.asked(study, plan)
    trial.set_user_attr("worker", {"host": platform.node(), "pid": os.getpid(), "place": _place()})
    origin = trial.user_attrs.get("again")  # leaves its place to this one, even where it is about to be closed

    def placed(each: FrozenTrial) -> bool:
        return counts(each) and (each.number != origin or each.state.is_finished())

    earlier = [each for each in study.get_trials(deepcopy=False) if each.number < trial.number and placed(each)]
    if len(earlier) >= plan.trials or origin is not None and origin in [e.user_attrs.get("again") for e in earlier]:
        trial.set_user_attr("surplus", True)  # two workers saw the same gap
        study.tell(trial, state=TrialState.FAIL)
        return None
    return trial


def _given_back(study: Study, trial: FrozenTrial | Trial, lost: int) -> bool | None:
    """Queue a trial's settings and close it; whether they are queued, None where somebody else has closed it before.

    In this order: else others see a trial too few for a moment, begin one of their own, and these are left out.
    What two have queued is made once (`claimed`).
    """
    times = trial.user_attrs.get("lost", 0) + lost
    if times < TRIES:
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number, "lost": times})
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return None
    return times < TRIES


def _place() -> str:
    """Where process numbers mean the same: this machine since it was started, this container. Empty: not known."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _gone(worker: dict) -> bool:
    """Whether this is a process of this machine that has ended."""
    if not _place() or worker.get("place") != _place():
        return False
    try:
        os.kill(worker["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


# --- a trial ----------------------------------------------------------------------------------------------------------


def carried_out(
    study: Study, trial: Trial, plan: Sweep, report: Report, stop: Callable[[], bool], train: Train
) -> None:
    """One trial, from its run file to what the study is told. Raises TrainerError where all trials so far fail."""
    report({"event": "trial", "number": trial.number, "params": trial.params, "again": trial.user_attrs.get("again")})
    began = time.monotonic()
    record: dict[str, Any] = {"event": "ended", "number": trial.number}
    try:
        state, value, reason = _tried(trial, plan, report, stop, train)
    except UpdateFinishedTrialError:
        report({**record, "state": "lost", "text": TAKEN})
        return
    except BaseException as error:
        _given_back(study, trial, lost=0)
        if not isinstance(error, Interrupted):
            raise  # nobody reads our report, the disk is full
        report({**record, "state": "lost", "text": "put back into the queue"})
        return
    seconds = round(time.monotonic() - began, 1)
    try:
        facts = {"seconds": seconds, "reason": reason} if reason else {"seconds": seconds}
        studies.told(study, trial, state, value, facts, patience_s=plan.lost_after)
    except UpdateFinishedTrialError:
        report({**record, "state": "lost", "text": TAKEN})
        return
    report({
        **record, "state": studies.STATES[state], "value": value, "measure": plan.measure, "seconds": seconds,
        "text": reason, "ended": _ended(study), "trials": plan.trials,
    })  # fmt: skip
    best = keep_best(study, plan) if state == TrialState.COMPLETE else None
    if best and best["trial"] == trial.number:
        report(best)
    _give_up_where_all_fail(study)


def _tried(trial: Trial, plan: Sweep, report: Report, stop, train: Train) -> tuple[TrialState, float | None, str]:
    """How a trial's run came out: its state, its figure, and why it failed."""
    out = model_of(plan, trial.number)
    path = Path(f"{out}.toml")
    try:
        _clean(out, "", ".log.jsonl", ".stop", ".pause", ".checkpoint")
        path.write_text(tomlkit.dumps(run_of(plan, trial.params, out)))
    except OSError as error:
        raise TrainerError(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        with closing(train(path)) as records:
            done = _followed(trial, plan, records, out, report, stop)
        figures = done["metrics"].get("validation") or next(iter(done["metrics"].values()))
        value = figures.get(plan.measure)
        if done.get("stopped"):
            return TrialState.PRUNED, value, ""
        if value is None or not math.isfinite(value):
            return TrialState.FAIL, None, f"{plan.measure} = {value}: the model cannot be judged by it"
        trial.set_user_attr("sha256", _digest(out))
        return TrialState.COMPLETE, value, ""
    except TrainerError as error:
        return TrialState.FAIL, None, str(error)
    finally:
        _clean(out, ".stop", ".pause", ".checkpoint")


def _followed(
    trial: Trial, plan: Sweep, records: Iterator[dict | None], out: Path, report: Report, stop: Callable[[], bool]
) -> dict:
    """The last record of a run. On the way the study hears how it goes, and ends it where the others went better."""
    beat, beaten, mark, least, done = 0, -math.inf, 0, math.inf, None
    key = "esr" if plan.measure == "esr" else "validation_loss"
    for record in records:
        if stop():
            raise Interrupted
        if _asked(plan.out, "pause") != _asked(out, "pause"):
            Path(f"{out}.pause").touch() if _asked(plan.out, "pause") else _clean(out, ".pause")
        if time.monotonic() - beaten >= plan.lost_after / BEATS:
            beat, beaten = beat + 1, time.monotonic()
            studies.attempt(trial.set_user_attr, "beat", beat)
        if record is None:
            continue
        event = record["event"]
        if event == "validation":
            least = min(least, record[key] if math.isfinite(record[key]) else math.inf)
            reached = min(studies.MARKS - 1, int(record["done"] * studies.MARKS))
            if reached > mark and math.isfinite(least):
                if studies.attempt(studies.beaten, trial, least, range(mark + 1, reached + 1)):
                    Path(f"{out}.stop").touch()
                mark = reached
        if event in ("validation", "warning", "paused", "continued"):
            report({**record, "trial": trial.number})
        if event == "done":
            done = record
    if done is None:
        raise TrainerError("the trainer ended without a model")
    return done


def model_of(plan: Sweep, number: int) -> Path:
    """The model file of a trial; its run file and its records have longer names."""
    out = Path(plan.out)
    return Path(plan.folder) / f"{out.stem}-{number:04d}{out.suffix or '.nafx'}"


def keep_best(study: Study, plan: Sweep) -> dict | None:
    """Copy the best model so far to the sweep's `out`, where it was made here; the record that says so."""
    finished = [each for each in study.get_trials(deepcopy=False) if each.state == TrialState.COMPLETE]
    if not finished:
        return None
    best = min(finished, key=lambda trial: (trial.value, trial.number))
    file, out = model_of(plan, best.number), Path(plan.out)
    record = {"event": "best", "trial": best.number, "value": best.value, "measure": plan.measure}
    try:
        here = _digest(file) == best.user_attrs.get("sha256")
    except OSError:
        here = False
    if not here:
        return {**record, "host": best.user_attrs.get("worker", {}).get("host", ""), "file": file.name}
    if out.exists() and _digest(out) == best.user_attrs["sha256"]:
        return {**record, "out": str(out)}
    temporary = out.with_name(f".{out.name}-{os.getpid()}.tmp")
    try:
        shutil.copyfile(file, temporary)
        os.replace(temporary, out)
    except OSError as error:
        raise TrainerError(f"{out}: cannot be written: {error.strerror or error}; the best model is {file}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return {**record, "out": str(out)}


def _give_up_where_all_fail(study: Study) -> None:
    ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished() and counts(each)]
    failed = [each for each in ended if each.state == TrialState.FAIL]
    if len(failed) == len(ended) >= HOPELESS:
        text = failed[-1].user_attrs["reason"]
        raise TrainerError(f"all {len(failed)} trials so far have failed, the last one so: {text}")


def _clean(out: Path, *what: str) -> None:
    for ending in what:
        Path(f"{out}{ending}").unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.sweep", description="Many runs, chosen by Optuna.")
    parser.add_argument("file", metavar="SWEEP.toml")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--worker", action="store_true", help="help with a study that others work on too")
    what.add_argument("--show", action="store_true", help="the table of a study, and nothing else")
    args = parser.parse_args()
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))

    def said(record: dict) -> None:
        print(json.dumps(record), flush=True)

    try:
        plan = load(Path(args.file))
        if args.show:
            said(studies.table(studies.opened(plan, create=False), plan))
        else:
            sweep(plan, said, worker=args.worker, stop=lambda: bool(asked))
    except TrainerError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except StorageInternalError as error:
        print(f"trainer: the study cannot be reached any more: {studies.reason(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 130 if asked else 0


if __name__ == "__main__":
    sys.exit(main())
