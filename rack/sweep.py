"""`nafx-rack sweep`: starts the trainer's sweep, a program of its own, and says in lines what it reports."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable

from .cores import step_back
from .train import said as said_of_training

FILE = "sweep.toml"
SPOKEN = 4  # times that a trial says how it goes


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("file", metavar="SWEEP.toml", nargs="?", default=FILE, help=f"what to try ({FILE})")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--worker", action="store_true", help="help with a sweep that others work on, here or elsewhere")
    what.add_argument("--show", action="store_true", help="the table of a sweep, running or finished, and nothing else")


def main(args: argparse.Namespace) -> int:
    """Work on a sweep; answers the exit status. Ctrl-C puts the trial that runs back into the queue."""
    options = [f"--{name}" for name in ("worker", "show") if getattr(args, name)]
    command = [sys.executable, "-m", "trainer.sweep", args.file, *options]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end alike
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=step_back)
    assert process.stdout is not None
    say = speaker()
    while True:
        try:
            for line in process.stdout:
                text = line.rstrip() if args.json else say(json.loads(line))
                if text:
                    print(text, flush=True)
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)


def speaker() -> Callable[[dict], str]:
    """What makes a line for people, or several, of each record in turn; empty for what is not worth one."""
    spoken: dict[int, int] = {}

    def say(record: dict) -> str:
        if record["event"] == "validation":
            before, now = spoken.get(record["trial"], 0), int(record["done"] * SPOKEN)
            spoken[record["trial"]] = max(before, now)
            if now <= before:
                return ""
        return said(record)

    return say


def said(record: dict) -> str:
    """A record of the sweep for people: a line, or a table."""
    event = record["event"]
    if event == "sweep":
        count = f"{record['trials']} trials" + (f", {record['ended']} of them done before" if record["ended"] else "")
        return f"{record['name']}: {count}, by {record['measure']}; {record['storage']}; runs in {record['folder']}"
    if event == "trial":
        again = "" if record["again"] is None else f", once more after trial {record['again']}"
        return f"trial {record['number']}: {_settings(record['params'])}{again}"
    if event in ("validation", "warning"):
        return f"trial {record['trial']}: {said_of_training(record).strip()}"
    if event == "lost":
        then = "is in the queue again" if record["again"] else "was lost too often and is left out"
        return f"trial {record['number']}: its worker{_on(record['host'])} is gone; it {then}"
    if event == "ended":
        figure = "" if record.get("value") is None else f" with {_number(record['value'])}"
        text = f": {record['text']}" if record["text"] else ""
        return f"trial {record['number']}: {record['state']}{figure}{text}"
    if event == "best" and "out" not in record:
        figure = f"the best model, of trial {record['trial']} with {record['measure']} {_number(record['value'])}"
        return f"{figure}, is not here: copy {record['file']} from the sweep's folder{_on(record['host'])}"
    if event == "best":
        return f"best: trial {record['trial']}, {record['measure']} {_number(record['value'])}: {record['out']}"
    return _table(record) if event == "table" else event


def _table(record: dict) -> str:
    """The trials, the best first, and what mattered."""
    trials = record["trials"]
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    rows = [["trial", "state", record["measure"], *map(_short, names), "seconds", "host", ""]]
    for trial in trials:
        values = [_number(trial["params"].get(name)) for name in names]
        said = trial["text"] or ("" if trial["again"] is None else f"once more after trial {trial['again']}")
        figures = [_number(trial["value"]), *values, _number(trial["seconds"])]
        rows.append([str(trial["number"]), trial["state"], *figures, trial["host"] or "", said])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    ended = sum(trial["state"] in ("done", "pruned", "failed") for trial in trials)
    lines.append(f"{ended} of {record['wanted']} trials have ended")
    if record["importance"]:
        shares = ", ".join(f"{_short(name)} {share:.0%}" for name, share in record["importance"].items())
        lines.append(f"what mattered: {shares}")
    return "\n".join(lines)


def _settings(params: dict) -> str:
    return ", ".join(f"{_short(name)} {_number(value)}" for name, value in params.items()) or "all settings as they are"


def _short(name: str) -> str:
    """The last part of a dotted name, in words."""
    return name.rpartition(".")[2].replace("_", " ")


def _number(value) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _on(host: str) -> str:
    return f" on {host}" if host else ""
