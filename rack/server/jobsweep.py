"""A sweep in the terms of a training: a trial is a step, the best model so far a checkpoint. Pure."""

from __future__ import annotations

from typing import Any

from ..jobs import JobRecord


def as_training(record: dict[str, Any], last: JobRecord | None) -> list[dict[str, Any]]:
    """What a record of `trainer.sweep` says, as the trainer would say it; `last` is the job's last figure."""
    match record.get("event"):
        case "sweep":
            return [{"event": "start", "words": f"{record['trials']} trials, by {record['measure']}"}]
        case "ended" if record["state"] != "lost":
            return [*_trouble(record), _figure(record, last or JobRecord())]
        case "best" if "out" in record:
            return [{"event": "checkpoint", "out": record["out"]}]
        case "table":
            return [_result(record)]
    return []


def _trouble(record: dict[str, Any]) -> list[dict[str, Any]]:
    text = record["text"]
    return [{"event": "warning", "text": f"trial {record['number']}: {text}"}] if text else []


def _figure(record: dict[str, Any], last: JobRecord) -> dict[str, Any]:
    ended, trials, value = record["ended"], record["trials"], record["value"]
    counts = value is not None and record["state"] == "done"
    best = min((figure for figure in (last.best, value if counts else None) if figure is not None), default=None)
    seconds = last.seconds + record["seconds"]
    return {
        "event": "validation", "step": ended, "seconds": seconds, "done": min(1.0, ended / trials),
        "validation_loss": value, "esr": best if record["measure"] == "esr" else None, "best": best,
        "eta": seconds / max(1, ended) * max(0, trials - ended),
    }  # fmt: skip


def _result(record: dict[str, Any]) -> dict[str, Any]:
    """The end of a sweep: its table names the best trial first."""
    done = [trial for trial in record["trials"] if trial["state"] == "done"]
    ended = sum(trial["state"] in ("done", "pruned", "failed") for trial in record["trials"])
    esr = done[0]["value"] if done and record["measure"] == "esr" else None
    return {"event": "done", "esr": esr, "stopped": ended < record["wanted"]}
