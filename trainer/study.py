"""Optuna's side of a sweep: the study, wherever it is stored, what it tries next, and its trials as a table."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna import Study, Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from .config import TrainerError
from .sweepfile import Axis, Range, Sweep, signature

MARKS = 20  # in a run, at which trials are compared
UNPRUNED = 5  # trials that are never ended early, for the others to be compared with
TELLING = 5  # finished trials before anything is said about what mattered
PATIENCE_S = 60.0  # until another process lets go of an SQLite file
OPENINGS = 5  # tries: two workers who make the tables of one study at once disturb each other
DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
FILES = (".db", ".sqlite", ".sqlite3")  # what is not one of these is a journal
STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


# --- the study --------------------------------------------------------------------------------------------------------


def opened(plan: Sweep, *, create: bool = True, alone: bool = False) -> Study:
    """The study of a sweep, made where there is none and `create`. `alone`: chance is the plan's seed.

    Raises TrainerError where the storage cannot be opened, holds no such study, or one with another [space].
    """
    where = f"storage {shown(plan)}"
    study = None
    for left in reversed(range(OPENINGS)):
        try:
            study = _study(plan, create, alone)
            break
        except KeyError:
            raise TrainerError(f"{where}: holds no study {plan.name!r}; nafx-rack sweep begins it") from None
        except (ImportError, NoSuchModuleError) as error:
            text = "install the driver: pip install 'nafx-rack[postgres]'" if "psycopg" in str(error) else str(error)
            raise TrainerError(f"{where}: {text}") from None
        except (SQLAlchemyError, StorageInternalError, DuplicatedStudyError, OSError, RuntimeError) as error:
            if not left or isinstance(error, ArgumentError):
                raise TrainerError(f"{where}: cannot be opened: {reason(error)}") from None
            time.sleep(0.2)
    assert study is not None
    agreed = study.user_attrs.get("sweep")
    if agreed is None:
        study.set_user_attr("sweep", signature(plan))
    elif agreed != signature(plan):
        raise TrainerError(
            f"{where}: the study {plan.name!r} was begun with another [space] or measure; give this one another name"
        )
    return study


def reason(error: Exception) -> str:
    """What a database has against it, in a line."""
    cause = error.__cause__ or error
    return (str(getattr(cause, "orig", None) or cause).strip() or type(cause).__name__).splitlines()[0]


def shown(plan: Sweep) -> str:
    """Where the study is, without a password."""
    address = plan.storage if "://" in plan.storage else _address(plan)
    if "://" not in address:
        return address
    try:
        return sqlalchemy.make_url(address).render_as_string(hide_password=True)
    except ArgumentError:
        return address.split("://")[0] + "://..."


def _address(plan: Sweep) -> str:
    """A URL, or the path of a journal."""
    path = plan.storage or str(Path(plan.folder) / "study.db")
    if "://" in path:
        scheme, _, rest = path.partition("://")
        return f"{DRIVERS.get(scheme, scheme)}://{rest}"
    return f"sqlite:///{os.path.abspath(path)}" if path.endswith(FILES) else path


def _study(plan: Sweep, create: bool, alone: bool) -> Study:
    storage = _storage(_address(plan), create)
    warmup = round(MARKS * plan.prune_after)
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=warmup)
        if plan.prune_after < 1
        else optuna.pruners.NopPruner()
    )
    if create:
        study = optuna.create_study(storage=storage, study_name=plan.name, pruner=pruner, load_if_exists=True)
    else:
        study = optuna.load_study(storage=storage, study_name=plan.name, pruner=pruner)
    seed = plan.seed + len(study.get_trials(deepcopy=False)) if alone else None
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study


def _storage(address: str, create: bool) -> BaseStorage:
    """Connections are made anew for each transaction: a worker that trains for an hour holds none."""
    if "://" not in address:
        if not create and not os.path.exists(address):
            raise KeyError
        return JournalStorage(JournalFileBackend(address))
    if not address.startswith("sqlite:"):
        return RDBStorage(address, engine_kwargs={"poolclass": NullPool})
    if not create and not os.path.exists(address.removeprefix("sqlite:///")):
        raise KeyError
    storage = RDBStorage(address, engine_kwargs={"poolclass": NullPool, "connect_args": {"timeout": PATIENCE_S}})
    _one_at_a_time(storage.engine)
    return storage


def _one_at_a_time(engine: sqlalchemy.Engine) -> None:
    """Have SQLite lock the file before a transaction reads, else two workers take the same trial out of the queue.

    As SQLAlchemy's manual says ("Serializable isolation / Savepoints / Transactional DDL" of its SQLite page).
    """
    event.listen(engine, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


# --- what is tried ----------------------------------------------------------------------------------------------------


def asked(study: Study, plan: Sweep) -> Trial:
    """A new trial, or one from the queue."""
    return study.ask({name: _distribution(axis) for name, axis in plan.space.items()})


def attempt(call: Callable, *args) -> Any:
    """What the call answers, None where the study cannot be reached just now: a run goes on without it."""
    try:
        return call(*args)
    except StorageInternalError:
        return None


def beaten(trial: Trial, value: float, marks: Iterable[int]) -> bool:
    """Tell how a run stands at some marks; whether the others were better there."""
    for mark in marks:
        trial.report(value, mark)
    return trial.should_prune()


def told(study: Study, trial: Trial, state: TrialState, value, facts: dict[str, Any], patience_s: float) -> None:
    """Close a trial. While the study cannot be reached, wait; raises UpdateFinishedTrialError where it is closed."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            for key, fact in facts.items():
                trial.set_user_attr(key, fact)
            study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
            return
        except ValueError as error:
            raise UpdateFinishedTrialError(str(error)) from None
        except StorageInternalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def _distribution(axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return IntDistribution(axis.low, axis.high, axis.log, int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, axis.log, axis.step)


# --- what came of it --------------------------------------------------------------------------------------------------


def state_of(trial: FrozenTrial) -> str:
    """In a word: done, pruned, running, waiting, failed (the run could not be made), lost (with its worker)."""
    if trial.state == TrialState.FAIL and "reason" not in trial.user_attrs:
        return "lost"
    return STATES[trial.state]


def counts(trial: FrozenTrial) -> bool:
    """Whether it is one of the trials that the sweep asks for: a lost one is done again under another number."""
    return state_of(trial) != "lost"


def table(study: Study, plan: Sweep) -> dict[str, Any]:
    """All trials, the best first, and which setting matters how much, as a record."""
    order = [*STATES.values(), "lost"]
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get("surplus")]
    trials.sort(key=lambda trial: (order.index(state_of(trial)), _figure(trial), trial.number))
    return {
        "event": "table", "name": plan.name, "measure": plan.measure, "wanted": plan.trials,
        "trials": [_row(trial) for trial in trials], "importance": _importance(study),
    }  # fmt: skip


def _row(trial: FrozenTrial) -> dict[str, Any]:
    said = trial.user_attrs
    return {
        "number": trial.number, "state": state_of(trial), "value": trial.value if trial.values else None,
        "params": trial.params, "seconds": said.get("seconds"), "host": said.get("worker", {}).get("host"),
        "again": said.get("again"), "text": said.get("reason", ""),
    }  # fmt: skip


def _figure(trial: FrozenTrial) -> float:
    return trial.value if trial.values and trial.value is not None else float("inf")


def _importance(study: Study) -> dict[str, float]:
    """Shares of 1, the largest first; empty where the trials cannot tell yet."""
    if sum(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)) < TELLING:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {name: round(float(share), 3) for name, share in found.items()}
