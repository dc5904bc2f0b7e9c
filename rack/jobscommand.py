"""`nafx-rack jobs`: the queue of training jobs from the command line; everything that the Train page does is here."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

import msgspec

from . import connect
from .connect import Connection
from .jobs import LIVE, Job, JobRecord, grade

SIMPLE = {  # one job, and nothing else to say
    "pause": "let one rest; it keeps its place",
    "resume": "go on with one that rests, was stopped or has failed",
    "stop": "end one, and keep the best model so far",
    "remove": "forget one, with its folder",
}


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    below = command.add_subparsers(title="commands", metavar="COMMAND")
    command.set_defaults(what="list", json=False)

    def add(name: str, help: str, id: bool = True) -> argparse.ArgumentParser:
        one = below.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        one.set_defaults(what=name)
        one.add_argument("--json", action="store_true", help="for programs")
        if id:
            one.add_argument("id", metavar="JOB", help="as in steer-1")
        return one

    add("list", "what runs, what waits, what is over", id=False)
    one = add("start", "put a run file or a sweep file into the queue", id=False)
    one.add_argument("file", metavar="FILE.toml", help="as nafx-rack train writes it, or nafx-rack sweep takes it")
    one.add_argument("--slot", metavar="SLOT", default="", help="play each checkpoint in this slot")
    one.add_argument("--title", metavar="TEXT", default="", help="what to call it")
    one.add_argument("--target-esr", metavar="X", type=float, default=0.0, help="end when the validation reaches it")
    one.add_argument("--front", action="store_true", help="before those that wait")
    for name, help in SIMPLE.items():
        add(name, help)
    add("move", "give one another place").add_argument("place", metavar="PLACE", type=int, help="from 0")
    add("target", "end one at an ESR; 0: not").add_argument("esr", metavar="X", type=float, help="of the validation")
    add("continue", "train one longer").add_argument("--minutes", metavar="N", type=float, help="not as long as before")
    add("reroll", "draw other controls for a steered sound").add_argument("--seed", metavar="N", type=int)
    one = add("listen", "play the checkpoints of one in a slot")
    one.add_argument("slot", metavar="SLOT", nargs="?", default="", help="without one: in no slot any more")
    one = add("undo", "play an earlier checkpoint")
    one.add_argument("checkpoint", metavar="N", type=int, nargs="?", help="the one before, or this one")
    one = add("compare", "hear a model beside the recording it learned from")
    one.add_argument("which", metavar="WHAT", choices=("model", "original", "off"), help="model, original or off")
    one = add("save", "copy the model of one into the library")
    one.add_argument("name", metavar="NAME", nargs="?", help="its title otherwise")
    add("show", "all that is known about one")
    add("log", "the last lines of its log")


def main(args: argparse.Namespace) -> int:
    """One command; answers the exit status."""
    with connect.start() if args.what == "start" else Connection() as server:
        if args.what in READS:
            READS[args.what](server, args)
            return 0
        key, value = _change(args)
        answer = server.set(key, value)
        if args.json:
            print(json.dumps(answer))
        elif answer:
            print(answer)
    return 0


def _change(args: argparse.Namespace) -> tuple[str, Any]:
    """The key to set, and its value."""
    if args.what == "start":
        whole = {"run": os.path.abspath(args.file), "slot": args.slot, "title": args.title, "front": args.front}
        return "jobs.start", whole | {"target_esr": args.target_esr}
    if args.what in SIMPLE:
        return f"jobs.{args.what}", args.id
    names = ("place", "esr", "minutes", "seed", "slot", "checkpoint", "name")
    said = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    if args.what == "compare":
        said["what"] = args.which
    key = "undo_checkpoint" if args.what == "undo" else args.what
    return f"jobs.{key}", {"id": args.id, **said}


# --- reading ----------------------------------------------------------------------------------------------------------


def _list(server: Connection, args: argparse.Namespace) -> None:
    found = server.get("jobs")
    if args.json:
        print(json.dumps(found))
        return
    jobs = msgspec.convert(found, list[Job])
    print("\n".join(map(line, jobs)) if jobs else "there are no jobs; nafx-rack jobs start RUN.toml")


def line(job: Job) -> str:
    """A job in a line."""
    last = job.last or JobRecord()
    figures = [f"ESR {job.esr:.4f} ({grade(job.esr)})"] if job.esr is not None else []
    if job.kind == "steer":  # it is not after the samples: its spectral loss says how close it is
        figures = [f"loss {last.best:.3f}"] if last.best is not None else []
    if job.state in LIVE and job.last:
        figures = [f"{last.done:4.0%}", *figures]
        figures += [f"{last.eta / 60:.1f} min left"] if last.eta is not None and job.state == "running" else []
    heard = [f"in {job.slot}" if job.playing >= 0 else f"for {job.slot}"] if job.slot else []
    note = job.note.splitlines()[0] if job.note and not (job.state == "done" and job.esr is not None) else ""
    return "  ".join(filter(None, [f"{job.id:<12} {job.state:<8} {job.title}", *figures, *heard, note]))


def _show(server: Connection, args: argparse.Namespace) -> None:
    found = server.get(f"jobs.{args.id}")
    if args.json:
        print(json.dumps(found | {"history": server.get(f"jobs.{args.id}.history")}))
        return
    job = msgspec.convert(found, Job)
    print(line(job))
    rows = {"recordings": f"{job.dry} {job.wet}", "run file": job.run, "network": job.network, "model": job.model}
    print("\n".join(f"{name:<12} {value}" for name, value in rows.items() if value.strip()))
    for warning in job.warnings:
        print(f"{'warning':<12} {warning}")
    for finding in job.findings:
        print(f"{finding.severity:<12} " + "; ".join(filter(None, (finding.message, finding.reason, finding.remedy))))
    for each in job.checkpoints:
        playing = "  plays" if each.number == job.playing else ""
        figure = f"  ESR {each.esr:.4f}" if each.esr is not None else ""
        words = f"  {each.words}" if each.words else ""
        print(f"{'checkpoint':<12} {each.number}  step {each.step}{figure}{words}{playing}")


def _log(server: Connection, args: argparse.Namespace) -> None:
    text = server.get(f"jobs.{args.id}.log")
    if not args.json:
        from . import sweep, train

        said = sweep.said if server.get(f"jobs.{args.id}")["kind"] == "sweep" else train.said
        text = "\n".join(_said(said, each) for each in text.splitlines())
    print(text.rstrip())


def _said(say: Callable[[dict], str], each: str) -> str:
    try:
        return say(json.loads(each))
    except (ValueError, KeyError, TypeError):  # a line that is cut short, or from another version
        return each


READS = {"list": _list, "show": _show, "log": _log}
