"""The command line: `nafx-rack` attaches to the rack, and everything that can be done in it can be done from here.

Only the standard library and msgspec are imported to begin with; whatever is slow to load waits until it is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import __version__, connect
from .errors import RackError

PROBLEM, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status. Errors are one line on stderr, never a traceback."""
    try:
        args = _parser().parse_args(arguments)
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


# --- commands ---------------------------------------------------------------------------------------------------------


def attach(args: argparse.Namespace) -> int:
    """Start the server where none runs, and show the rack."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RackError("the rack needs a terminal; without one use: nafx-rack start, status, get, set, watch")
    begin(args.rack)
    from .paths import socket_path
    from .ui.app import run

    return run(str(socket_path()), color=args.color, glyphs=args.glyphs, rate_hz=args.fps)


def begin(rack: str) -> None:
    """A server that plays this rack; says in one line where no sound card will be heard."""
    try:
        connection = connect.Connection()
        hint = connection.view.audio.message
    except connect.NoServer:
        from .doctor import sound_hint

        connection, hint = None, sound_hint()
    if hint:
        connect.say(hint)
    with connection or connect.start(rack) as connection:
        if rack and connection.view.rack != rack:
            connection.set("rack", rack)


def start(args: argparse.Namespace) -> int:
    """Start the server without showing anything."""
    begin(args.rack)
    return 0


def stop(args: argparse.Namespace) -> int:
    """End the sound, the server and all that belongs to it."""
    print("stopped" if connect.stop() else "no server is running")
    return 0


def status(args: argparse.Namespace) -> int:
    """What plays now."""
    import json

    import msgspec

    from . import report
    from .server.lock import holder

    with connect.Connection() as connection:
        view, meters = msgspec.convert(connection.get("status"), type(connection.view)), connection.telemetry()
    if args.json:
        from .paths import lock_path, socket_path

        whole = msgspec.to_builtins(view)
        whole["telemetry"] = {k: v for k, v in msgspec.to_builtins(meters).items() if not k.startswith("scope")}
        whole["server"] = {"pid": holder(lock_path()), "version": __version__, "socket": str(socket_path())}
        print(json.dumps(whole, indent=1))
    else:
        print(report.status(view, meters))
    return 0


def get(args: argparse.Namespace) -> int:
    """Read one thing."""
    from . import report

    with connect.Connection() as connection:
        print(report.value(connection.get(args.key), args.json))
    return 0


def set_(args: argparse.Namespace) -> int:
    """Change one thing."""
    words = args.value[1:] if args.value[:1] == ["--"] else args.value
    value = _here(args.key, " ".join(words)) if words else None
    with connect.Connection() as connection:
        connection.set(args.key, value)
    return 0


def _here(key: str, value: str) -> str:
    """Paths as seen from this folder made whole: the server stands somewhere else."""
    place, _, rest = key.partition(".")
    prefix = "file:" if key == "source" and value.startswith("file:") else ""
    path = value[len(prefix) :]
    if key == "slots.add":
        kind, _, path = value.partition(" ")
        file, _, index = path.rpartition(" ")
        file, index = (file, f" {index}") if index.isdigit() and file else (path, "")
        return f"{kind} {os.path.abspath(os.path.expanduser(file))}{index}" if kind == "model" and file else value
    if key == "record" and value.lower() not in ("on", "off", "toggle", "true", "false", "yes", "no", "0", "1"):
        return os.path.abspath(os.path.expanduser(value))
    suffix = os.path.splitext(value)[1][1:]
    if prefix or rest == "model" or rest.startswith("settings.") or os.sep in value or suffix.isalpha():
        whole = os.path.abspath(os.path.expanduser(path))
        return prefix + whole if os.path.isfile(whole) and rest not in ("notes", "bypass") else value
    return value


def watch(args: argparse.Namespace) -> int:
    """Print what changes, until interrupted."""
    from . import report
    from .protocol import Subscribe

    with connect.Connection("watch") as connection:
        if args.meters:
            connection.send(Subscribe(args.rate))
        for line in report.watch(connection.messages(), connection.view, args.json):
            print(line, flush=True)
    return 0


def devices(args: argparse.Namespace) -> int:
    """List sound devices."""
    from . import doctor

    return doctor.devices(args.json)


def doctor(args: argparse.Namespace) -> int:
    """Look at everything the rack needs."""
    from . import doctor

    return doctor.doctor(args.json)


def render(args: argparse.Namespace) -> int:
    """A file through a rack or a model."""
    from .workshop import render

    return render.main(args)


def models(args: argparse.Namespace) -> int:
    """The library of model files."""
    if args.what in ("check", "export"):
        from .workshop import trial

        return {"check": trial.check, "export": trial.export}[args.what](args)
    from . import models

    return models.COMMANDS[args.what](args)


def soak(args: argparse.Namespace) -> int:
    """Run the engine for a while and report."""
    from . import soak

    return soak.main(args)


def capture(args: argparse.Namespace) -> int:
    """Record a device to learn from."""
    from . import capture

    return capture.main(args)


def train(args: argparse.Namespace) -> int:
    """Train a model."""
    from . import train

    return train.main(args)


def sweep(args: argparse.Namespace) -> int:
    """Train many models with different settings."""
    from . import sweep

    return sweep.main(args)


def report(args: argparse.Namespace) -> int:
    """A page about training runs."""
    from . import train_report

    return train_report.main(args)


def superknob(args: argparse.Namespace) -> int:
    """The SuperKnob and its examples."""
    from . import superknobcommand

    return superknobcommand.main(args)


def jobs(args: argparse.Namespace) -> int:
    """The queue of training jobs."""
    from . import jobscommand

    return jobscommand.main(args)


def bench(args: argparse.Namespace) -> int:
    """Measure speed."""
    from . import bench

    return bench.main(args)


# --- arguments --------------------------------------------------------------------------------------------------------


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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nafx-rack",
        description="A neural effects rack in the terminal. Without a command: show the rack, started where it is not.",
        epilog="q leaves the rack and the sound goes on; nafx-rack stop ends it.",
    )
    parser.set_defaults(run=attach)
    parser.add_argument("--version", action="version", version=f"nafx-rack {__version__}")
    parser.add_argument("--color", default="auto", choices=("auto", "truecolor", "256", "16", "none"), help="colours")
    parser.add_argument("--glyphs", default="auto", choices=("auto", "unicode", "compat", "ascii"), help="characters")
    parser.add_argument("--fps", type=_number(1, 60), metavar="HZ", help="how often meters are drawn")
    parser.add_argument("--rack", default="", metavar="NAME", help="the rack to play")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run, help: str, json: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        command.set_defaults(run=run)
        if json:
            command.add_argument("--json", action="store_true", help="for programs")
        return command

    command = add("start", start, "start the rack without showing it")
    command.add_argument("--rack", default=argparse.SUPPRESS, metavar="NAME", help="the rack to play")
    add("stop", stop, "end the sound and everything that belongs to it")
    add("status", status, "what plays now", json=True)
    command = add("get", get, "read one thing", json=True)
    command.add_argument("key", metavar="KEY", nargs="?", default="", help="as in gain.gain; without one: all keys")
    command = add("set", set_, "change one thing")
    command.add_argument("key", metavar="KEY", help="as in delay.time, slots.add, undo, rack")
    command.add_argument("value", metavar="VALUE", nargs=argparse.REMAINDER, help="as in 350ms, -3dB, on, 'delay 2'")
    command = add("watch", watch, "print every change as a line", json=True)
    command.add_argument("--meters", action="store_true", help="levels as well")
    command.add_argument("--rate", type=_number(0.01, 60), default=2.0, metavar="HZ", help="of the levels (2)")
    add("devices", devices, "list sound devices", json=True)
    add("doctor", doctor, "look at everything the rack needs", json=True)
    below = add("models", attach, "the library of model files: scan, list, search, info, mark, check, export")
    _add_models(below.add_subparsers(title="commands", metavar="COMMAND", required=True))
    _add_offline(add)
    return parser


def _add_models(commands) -> None:
    """`nafx-rack models ...`"""

    def add(name: str, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        command.set_defaults(run=models, what=name)
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
    command = add("render", render, "play a file through a rack or a model into another file")
    command.add_argument("input", metavar="IN", help="a sound file")
    command.add_argument("output", metavar="OUT", help="the 32-bit float WAV to write")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--rack", metavar="NAME", help="a rack of racks.toml")
    what.add_argument("--model", metavar="FILE", help="one model file, with nothing around it")
    command.add_argument("--knob", metavar="NAME=VALUE", action="append", default=[], help="in real units; repeatable")
    command.add_argument("--block", metavar="N", type=_whole(1, 2048), default=512, help="samples at a time (512)")
    command.add_argument("--rate", metavar="HZ", type=_whole(8000, 192000), help="of the output, if not the input's")

    command = add("soak", soak, "run the engine for a while and report late blocks", json=True)
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

    command = add("capture", capture, "play a signal through a device and record it, to learn from", json=True)
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

    training.arguments(add("train", train, "turn recordings into a model", json=True))

    from . import sweep as sweeping

    sweeping.arguments(add("sweep", sweep, "train models with different settings, and keep the best", json=True))

    from . import train_report

    train_report.arguments(add("report", report, "show or compare what was trained, as a page", json=True))

    from . import jobscommand, superknobcommand

    about = "what the SuperKnob says; its examples as a file: export, import"
    superknobcommand.arguments(add("superknob", superknob, about, json=True))
    jobscommand.arguments(add("jobs", jobs, "the queue of training jobs: list, start, pause, stop, listen, save"))

    command = add("bench", bench, "measure nanoseconds per sample", json=True)
    command.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    command.add_argument("--engines", metavar="A,B", help="of jax, torch, onnxruntime")
    command.add_argument("--models", metavar="A,B", help="which models")
    command.add_argument("--blocks", metavar="N,M", help="block sizes, as in 64,512")
    command.add_argument("--markdown", metavar="FILE", help="write the table there, too")


if __name__ == "__main__":
    sys.exit(main())
