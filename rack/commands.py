"""What each command of `nafx-rack` does; the arguments are those of `rack.cli`, the answer is the exit status."""

from __future__ import annotations

import argparse
import os
import sys

from . import __version__, connect
from .errors import RackError


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
