"""A run's records on disk, beside its model: `<out>.log.jsonl`, one JSON object a line; what reports are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .config import unwritten

Report = Callable[[dict], None]


def path(out: str | Path) -> Path:
    """Where the records of the run that makes this model file are."""
    return Path(f"{out}.log.jsonl")


def keeping(out: str | Path, report: Report) -> Report:
    """`report`, and each record into the file too: a run that starts begins it anew, a resumed one goes on in it.

    Raises TrainerError where it cannot be written.
    """
    where = path(out)

    def both(record: dict) -> None:
        fresh = record.get("event") == "start" and not record.get("resumed")
        try:
            with open(where, "w" if fresh else "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritten(where, error) from None
        report(record)

    return both


def read(out: str | Path) -> list[dict[str, Any]]:
    """The records of a run in order, [] without a file.

    Where a run was killed and taken up from an earlier step, what it had done beyond that step is left out: the resumed
    run said it again. A last line cut short is no record.
    """
    try:
        text = path(out).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    records: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        if record.get("event") == "start":
            step = _number(record.get("step"))
            records = [each for each in records if _number(each.get("step")) <= step and each.get("event") != "done"]
        records.append(record)
    return records


def curve(records: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The validations as columns of equal length: step, seconds, loss, validation_loss, esr."""
    keys = ("step", "seconds", "loss", "validation_loss", "esr")
    rows = [record for record in records if record.get("event") == "validation"]
    rows = [row for row in rows if all(isinstance(row.get(key), int | float) for key in keys)]
    return {key: [float(row[key]) for row in rows] for key in keys}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
