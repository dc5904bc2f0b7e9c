"""`nafx-rack train`: writes a run.toml and starts the trainer, a program of its own, on it."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

from .cores import step_back
from .errors import RackError
from .jobs import grade

RECIPES = ("capture", "parametric", "steer", "conditioning")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument(
        "file", metavar="RUN.toml", nargs="?", help="a run file that exists already; else it is made of:"
    )
    command.add_argument("--dry", metavar="FILE", help="what went into the device")
    command.add_argument("--wet", metavar="FILE", help="what came out of it")
    command.add_argument("--folder", metavar="DIR", help="recordings of a device with knobs")
    command.add_argument("--effect", metavar="NAME", help="a known effect: drive, low_pass, box:..., command:...")
    command.add_argument("--out", metavar="FILE", help="the model file to write")
    command.add_argument("--recipe", choices=RECIPES, help="what kind of model (capture; parametric with --folder)")
    command.add_argument("--preset", metavar="NAME", help="of the recipe, as in paper (fast)")
    command.add_argument(
        "--strategy", metavar="NAME", help="of conditioning: linear, inverse, v, sin, random, random-many"
    )
    command.add_argument("--minutes", type=float, metavar="N", help="how long at most")
    command.add_argument("--size", type=int, metavar="N", help="hidden units, or channels of a TCN")
    command.add_argument(
        "--taper", action="store_true", help="learn by what curve each knob is heard: for one that is not just more"
    )
    command.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn by chance")
    command.add_argument("--start-from", metavar="FILE", help="a model file to begin with")
    command.add_argument("--target-esr", type=float, metavar="X", help="stop when the validation reaches it")
    command.add_argument("--licence", metavar="TEXT", help="written into the model file")
    command.add_argument("--force", action="store_true", help="train although the checks of the recordings say no")
    command.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")


def main(args: argparse.Namespace) -> int:
    """Run one training; answers the trainer's exit status. Ctrl-C stops it and keeps the best model so far."""
    path = Path(args.file) if args.file else written(args)
    command = [sys.executable, "-m", "trainer", str(path), *(["--resume"] if args.resume else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=step_back) as process:
        assert process.stdout is not None
        while True:
            try:
                for line in process.stdout:
                    print(line.rstrip() if args.json else said(json.loads(line)), flush=True)
                return process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGTERM)


def written(args: argparse.Namespace) -> Path:
    """The run file that the options describe, beside the model it will make. Raises RackError."""
    if not args.out:
        raise RackError("train needs --out, the model file to write, or a run file (see nafx-rack train --help)")
    import tomlkit  # slow to load, and this module belongs to every command's start

    out = Path(args.out).absolute()
    recipe = args.recipe or ("parametric" if args.folder else "conditioning" if args.effect else "capture")
    run = tomlkit.document()
    run["out"], run["recipe"] = out.name, recipe
    for key in ("preset", "strategy", "seed", "target_esr"):
        if getattr(args, key) is not None:
            run[key] = getattr(args, key)
    if args.start_from:
        run["start_from"] = str(Path(args.start_from).absolute())
    data = tomlkit.table()
    for key in ("dry", "wet", "folder"):
        if getattr(args, key):
            data[key] = str(Path(getattr(args, key)).absolute())
    for key in ("effect", "licence"):
        if getattr(args, key):
            data[key] = getattr(args, key)
    if args.force:
        data["force"] = True
    run["data"] = data
    if args.minutes:
        run["schedule"] = {"seconds": 60.0 * args.minutes}
    network = {"width" if recipe == "steer" else "hidden": args.size} if args.size else {}
    if network := network | ({"taper": True} if args.taper else {}):
        run["network"] = network
    path = out.with_name(out.name + ".toml")
    try:
        path.write_text(tomlkit.dumps(run))
    except OSError as error:
        raise RackError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def said(record: dict) -> str:
    """A record of the trainer in a line for people."""
    event = record["event"]
    if event == "start":
        size = f"{record['network']['kind']}, {record['parameters']} parameters"
        parts = ", ".join(f"{seconds:g} s to {part}" for part, seconds in record["seconds"].items())
        return f"{record['recipe']}: {size}; {parts}"
    if event == "validation":
        left = f"{record['eta'] / 60:.1f} min left" if record["eta"] > 90 else f"{record['eta']:.0f} s left"
        figures = f"ESR {record['esr']:.4f}  loss {record['loss']:.4f}"
        return f"{record['done']:4.0%}  {figures}  {record['rate']:.0f}x real time  {left}"
    if event == "warning":
        return f"warning: {record['text']}"
    if event == "done" and "esr" in record:
        return f"done: {record['out']}, ESR {record['esr']:.4f} ({grade(record['esr'])})"
    return f"{event}: {record['out']}" if "out" in record else event
