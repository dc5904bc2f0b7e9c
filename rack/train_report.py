"""`nafx-rack report`: starts the trainer's report on runs that were trained here, and says where the page is."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("runs", metavar="RUN", nargs="+", help="a run file, a model file, or a folder of them")
    command.add_argument("--out", metavar="PAGE.html", help="where to write it; else beside the first model")
    command.add_argument("--recordings", metavar="FOLDER", help="where the recordings are now, if they were moved")
    command.add_argument("--grid", metavar="N", help="places along each side of a steered effect's maps (11)")
    command.add_argument("--no-png", action="store_true", help="only the page, without its figures as files")


def main(args: argparse.Namespace) -> int:
    """Make the page; answers the reporter's exit status."""
    command = [sys.executable, "-m", "trainer.report"]
    for option in ("out", "recordings", "grid"):
        if getattr(args, option):
            command.append(f"--{option}={getattr(args, option)}")
    command += ["--no-png"] if args.no_png else []
    process = subprocess.Popen([*command, "--", *args.runs], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(line.rstrip() if args.json else said(json.loads(line)), flush=True)
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # a terminal has done so already; whoever else interrupts us has not
        return process.wait()


def said(record: dict) -> str:
    """A record of the reporter in a line for people."""
    match record["event"]:
        case "measuring":
            return f"measuring {record['run']}"
        case "missing":
            return f"{record['run']}: {record['text']}" if record["run"] else record["text"]
        case "report":
            pictures = f", and {len(record['pictures'])} pictures in {record['folder']}" if record["pictures"] else ""
            return f"done: {record['page']}{pictures}"
    return record["event"]
