"""The command line: `nafx-rack` attaches to the rack, and everything that can be done in it can be done from here.

Only the standard library and msgspec are imported to begin with; whatever is slow to load waits until it is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import __version__, commands
from .errors import RackError

PROBLEM, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status. Errors are one line on stderr, never a traceback."""
    try:
        args = parser().parse_args(arguments)
        status = args.run(args)
        sys.stdout.flush()
        return status
    except RackError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read has had enough; the interpreter flushes once more
        return 0
    except Exception as error:
        if os.environ.get("NAFX_RACK_DEBUG"):
            raise
        return _fail(f"{type(error).__name__}: {error} (this is a fault of ours; NAFX_RACK_DEBUG=1 shows where)")


def _fail(text: str) -> int:
    print(f"nafx-rack: {text}", file=sys.stderr)
    return PROBLEM


def _whole(low: int, high: int) -> Callable[[str], int]:
    def check(words: str) -> int:
        if not words.isdigit() or not low <= int(words[:9]) <= high:
            raise argparse.ArgumentTypeError(f"{words}: must be a whole number from {low} to {high}")
        return int(words)

    return check


def _number(low: float, high: float) -> Callable[[str], float]:
    def check(words: str) -> float:
        try:
            number = float(words)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{words}: must be a number from {low:g} to {high:g}")
        return number

    return check


class _Parser(argparse.ArgumentParser):
    """As argparse's, but short in its errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Every command, its options, and the function of `rack.commands` that does it, as `run`."""
    whole = _Parser(
        prog="nafx-rack",
        description="A neural effects rack in the terminal. Without a command: show the rack, started where it is not.",
        epilog="q leaves the rack and the sound goes on; nafx-rack stop ends it.",
    )
    whole.set_defaults(run=commands.attach)
    whole.add_argument("--version", action="version", version=f"nafx-rack {__version__}")
    whole.add_argument("--color", default="auto", choices=("auto", "truecolor", "256", "16", "none"), help="colours")
    whole.add_argument("--glyphs", default="auto", choices=("auto", "unicode", "compat", "ascii"), help="characters")
    whole.add_argument("--fps", type=_number(1, 60), metavar="HZ", help="how often meters are drawn")
    whole.add_argument("--rack", default="", metavar="NAME", help="the rack to play")
    names = whole.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run, help: str, json: bool = False) -> argparse.ArgumentParser:
        command = names.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        command.set_defaults(run=run)
        if json:
            command.add_argument("--json", action="store_true", help="for programs")
        return command

    command = add("start", commands.start, "start the rack without showing it")
    command.add_argument("--rack", default=argparse.SUPPRESS, metavar="NAME", help="the rack to play")
    add("stop", commands.stop, "end the sound and everything that belongs to it")
    add("status", commands.status, "what plays now", json=True)
    command = add("get", commands.get, "read one thing", json=True)
    command.add_argument("key", metavar="KEY", nargs="?", default="", help="as in gain.gain; without one: all keys")
    command = add("set", commands.set_, "change one thing")
    command.add_argument("key", metavar="KEY", help="as in delay.time, slots.add, undo, rack")
    command.add_argument("value", metavar="VALUE", nargs=argparse.REMAINDER, help="as in 350ms, -3dB, on, 'delay 2'")
    command = add("watch", commands.watch, "print every change as a line", json=True)
    command.add_argument("--meters", action="store_true", help="levels as well")
    command.add_argument("--rate", type=_number(0.01, 60), default=2.0, metavar="HZ", help="of the levels (2)")
    add("devices", commands.devices, "list sound devices", json=True)
    add("doctor", commands.doctor, "look at everything the rack needs", json=True)
    below = add("models", commands.attach, "the library of model files: scan, list, search, info, mark, check, export")
    _add_models(below.add_subparsers(title="commands", metavar="COMMAND", required=True))
    _add_offline(add)
    return whole


def _add_models(names) -> None:
    """`nafx-rack models ...`"""

    def add(name: str, help: str) -> argparse.ArgumentParser:
        command = names.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        command.set_defaults(run=commands.models, what=name)
        command.add_argument("--json", action="store_true", help="for programs")
        return command

    command = add("scan", "bring the library up to date")
    command.add_argument("folders", metavar="FOLDER", nargs="*", help="to be in it from now on; without one: all")
    command.add_argument("--forget", action="store_true", help="take the folders out again")
    command = add("list", "what is in the library")
    command.add_argument("folder", metavar="FOLDER", nargs="?", help="only what lies below it")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--favourites", action="store_true", help="only these")
    which.add_argument("--recent", action="store_true", help="what was used last, the latest first")
    which.add_argument("--errors", action="store_true", help="what cannot be played, and why")
    command = add("search", "models by the beginnings of words; #word is a tag")
    command.add_argument("words", metavar="WORD", nargs="+")
    command = add("info", "all that is known about a file")
    command.add_argument("path", metavar="PATH")
    command = add("mark", "note something about a file")
    command.add_argument("path", metavar="PATH")
    command.add_argument("--favourite", action=argparse.BooleanOptionalAction, help="or not")
    command.add_argument("--tags", metavar="WORDS", help="to find it by, in place of those it has")
    command.add_argument("--notes", metavar="TEXT", help="in place of what is there")
    command = add("check", "load models for real, and play noise and silence through them")
    command.add_argument("paths", metavar="PATH", nargs="+")
    command = add("export", "write a model in another program's format")
    command.add_argument("path", metavar="PATH")
    command.add_argument("--to", metavar="FORMAT", required=True, help="a wrong one is answered with the list")
    command.add_argument("output", metavar="OUT")


def _add_offline(add) -> None:
    command = add("render", commands.render, "play a file through a rack or a model into another file")
    command.add_argument("input", metavar="IN", help="a sound file")
    command.add_argument("output", metavar="OUT", help="the 32-bit float WAV to write")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--rack", metavar="NAME", help="a rack of racks.toml")
    what.add_argument("--model", metavar="FILE", help="one model file, with nothing around it")
    command.add_argument("--knob", metavar="NAME=VALUE", action="append", default=[], help="in real units; repeatable")
    command.add_argument("--block", metavar="N", type=_whole(1, 2048), default=512, help="samples at a time (512)")
    command.add_argument("--rate", metavar="HZ", type=_whole(8000, 192000), help="of the output, if not the input's")

    command = add("soak", commands.soak, "run the engine for a while and report late blocks", json=True)
    command.add_argument("--seconds", metavar="N", type=_number(0.1, 1e6), default=60.0, help="how long (60)")
    command.add_argument("--block", metavar="N", type=_whole(32, 2048), default=64, help="samples (64)")
    command.add_argument("--rate", metavar="HZ", type=_whole(8000, 192000), default=48000, help="of the stream (48000)")
    command.add_argument("--rack", metavar="NAME", default="", help="a rack of racks.toml; the first one otherwise")
    command.add_argument("--source", metavar="S", default="loop", help="input, loop or a sound file (loop)")
    command.add_argument("--backend", default="auto", choices=("auto", "portaudio", "null"), help="what plays (auto)")
    command.add_argument(
        "--device", metavar="D", default="", help="name or number of the device; the default otherwise"
    )
    command.add_argument("--ui", action="store_true", help="with a terminal interface attached, its meters moving")
    command.add_argument("--control", action="store_true", help="measure the same stream doing nothing, too")

    command.add_argument(
        "--edits", metavar="N", type=_whole(0, 1_000_000), default=0, help="change the row N times while it plays (0)"
    )
    command.add_argument(
        "--switches", metavar="N", type=_whole(0, 1_000_000), default=0, help="go to the next capture N times (0)"
    )

    command = add("capture", commands.capture, "play a signal through a device and record it, to learn from", json=True)
    command.add_argument("folder", metavar="OUT", help="a folder for dry.wav and wet.wav")
    command.add_argument("--device", metavar="D", default="", help="its name or number; else the default")
    command.add_argument("--output", metavar="N", type=_whole(1, 64), default=1, help="channel into the device (1)")
    command.add_argument("--input", metavar="N", type=_whole(1, 64), default=1, help="channel it comes back on (1)")
    command.add_argument("--rate", metavar="HZ", type=_whole(8000, 192000), help="of the recording (48000)")
    command.add_argument("--seconds", metavar="N", type=_number(24, 1800), default=60.0, help="of the signal (60)")
    command.add_argument("--level", metavar="DB", type=_number(-60, 0), default=-6.0, help="its peak, dBFS (-6)")
    command.add_argument("--signal", metavar="FILE", default="", help="play this file instead")
    command.add_argument("--delay", metavar="N", type=_whole(0, 1 << 20), help="the loop's latency, if you know better")
    command.add_argument("--force", action="store_true", help="write over an earlier capture")

    from . import train as training

    training.arguments(add("train", commands.train, "turn recordings into a model", json=True))

    from . import sweep as sweeping

    about = "train models with different settings, and keep the best"
    sweeping.arguments(add("sweep", commands.sweep, about, json=True))

    from . import train_report

    train_report.arguments(add("report", commands.report, "show or compare what was trained, as a page", json=True))

    from . import jobscommand, superknobcommand

    about = "what the SuperKnob says; its examples as a file: export, import"
    superknobcommand.arguments(add("superknob", commands.superknob, about, json=True))
    about = "the queue of training jobs: list, start, pause, stop, listen, save"
    jobscommand.arguments(add("jobs", commands.jobs, about))

    command = add("bench", commands.bench, "measure nanoseconds per sample", json=True)
    command.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    command.add_argument("--engines", metavar="A,B", help="of jax, torch, onnxruntime")
    command.add_argument("--models", metavar="A,B", help="which models")
    command.add_argument("--blocks", metavar="N,M", help="block sizes, as in 64,512")
    command.add_argument("--markdown", metavar="FILE", help="write the table there, too")


if __name__ == "__main__":
    sys.exit(main())
