"""Engine and workshop as tiny programs that speak the protocol, and a server that uses them.

    python -m tests.rack.fakes server|engine|workshop ...

What the children are told is written to `engine.jsonl` and `workshop.jsonl` in NAFX_RACK_HOME. The fake engine plays
the tape through untouched, records it, and shows each slot's first knob as its peak: what a test turns, it can see.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from rack import protocol
from rack.catalogue import KnobInfo
from rack.examples import Mapping, fingerprint, glided
from rack.maps import Map, Mapped, MapPoint
from rack.shared import TAPE, Shared, put, take
from rack.superknob import packed

from .boxes import CATALOGUE


def log(who: str, entry: dict) -> None:
    with open(Path(os.environ["NAFX_RACK_HOME"]) / f"{who}.jsonl", "a") as file:
        file.write(json.dumps({"pid": os.getpid(), **entry}) + "\n")


def heard(message) -> dict:
    return {"said": type(message).__name__, **msgspec.to_builtins(message)}


def engine(fd: int, shared_fd: int) -> None:
    """Plays the tape on a clock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection, shared = socket.socket(fileno=fd), Shared(shared_fd)
    reader = protocol.Reader(protocol.ToEngine)
    stream, rows, tape, recording, began = None, [], False, False, 0.0
    late = Path(os.environ["NAFX_RACK_HOME"]) / "late"  # while it is there, so is every block
    connection.sendall(protocol.frame(protocol.EngineReady(os.getpid())))
    while True:
        if select.select([connection], [], [], 0.005)[0]:
            try:
                message = reader.receive(connection)
            except (EOFError, ConnectionError):
                return
            log("engine", heard(message))
            match message:
                case protocol.Quit():
                    return
                case protocol.Stream():
                    stream, rows, began = message, [], time.monotonic()
                    shared.blocks[0] = 0
                    wanted = "" if message.backend == "null" else "no sound card here; the null output plays instead"
                    said = protocol.Streaming("null", "clock", message.rate, message.block, wanted)
                    connection.sendall(protocol.frame(said))
                case protocol.Line(number, slots):
                    if stream is None or any("refuse" in slot.program for slot in slots):
                        connection.sendall(protocol.frame(protocol.Refused(number, "cannot be loaded")))
                    else:
                        rows = [slot.row for slot in slots]
                        connection.sendall(protocol.frame(protocol.Took(number)))
                case protocol.Source(on):
                    tape = on
                case protocol.Record(on):
                    recording = on
        if stream is None:
            continue
        due = int((time.monotonic() - began) * stream.rate / stream.block)
        while shared.blocks[0] < due:
            shared.blocks[0] += 1
            shared.late[0] += late.exists()
            if not rows or not tape:
                continue
            shared.tape_read[0] = max(shared.tape_read[0], shared.tape_from[0])
            block = np.zeros((stream.block, 2), np.float32)
            if shared.tape_written[0] - shared.tape_read[0] >= len(block):
                take(shared.tape, int(shared.tape_read[0]), block)
                shared.tape_read[0] += len(block)
            put(shared.scope, shared.scope_written, block)
            shared.peak_out[:] = np.maximum(shared.peak_out, np.abs(block).max(axis=0))
            if recording and shared.record_written[0] - shared.record_read[0] + len(block) <= TAPE:
                put(shared.record, shared.record_written, block)
        shared.peaks[rows] = shared.targets[rows, 1] * (shared.targets[rows, 0] > 0)
        shared.busy_us[0] = 100.0


def workshop(fd: int) -> None:
    """Answers every order at once, or after NAFX_FAKE_DELAY seconds; a model file is JSON that says what happens.

    While there is a file `held` in NAFX_RACK_HOME no answer is given.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection, reader = socket.socket(fileno=fd), protocol.Reader(protocol.ToWorkshop)
    log("workshop", {"said": "start", "nice": os.nice(0)})
    connection.sendall(protocol.frame(protocol.WorkshopReady(os.getpid())))
    while True:
        try:
            order = reader.receive(connection)
        except (EOFError, ConnectionError):
            return
        log("workshop", heard(order))
        time.sleep(float(os.environ.get("NAFX_FAKE_DELAY", "0")))
        while Path(os.environ["NAFX_RACK_HOME"], "held").exists():
            time.sleep(0.01)
        connection.sendall(protocol.frame(answer(order)))


def answer(order):
    if isinstance(order, protocol.Teach):
        return taught(order)
    if isinstance(order, Map):
        return Mapped(order.ticket, tuple(MapPoint(x, y, -40.0 + x, 100.0 * (y + 1), 0.1) for x, y in order.cells))
    if isinstance(order, protocol.Fuse):
        return protocol.Fused(order.ticket, f"/fake/fused-{order.ticket}", 0.0, False)
    knobs, model = (), {}
    if order.box.type == "model":
        model = json.loads(Path(order.box.model).read_text())
        knobs = tuple(KnobInfo(name) for name in model.get("knobs", ["drive"]))
    elif order.box.type in CATALOGUE:
        knobs = CATALOGUE[order.box.type].knobs
    if model.get("kills"):
        os._exit(7)
    if "error" in model:
        return protocol.Failed(order.ticket, model["error"])
    name = f"/fake/{model.get('program', order.box.type)}-{order.block}"
    values = tuple(knob.default for knob in knobs)
    return protocol.Built(order.ticket, name, name, knobs, values, 3, 100, 1000, None, 0.0, True)


def taught(order: protocol.Teach):
    """A mapping that plays the middle of what is taught; an example's name may say what else happens."""
    names = [example.name for example in order.examples.examples]
    if "kills" in names:
        os._exit(7)
    if "fails" in names:
        return protocol.Failed(order.ticket, "the examples cannot be learned; delete some")
    keys = glided(order.examples)
    ends = [[e.values[key] for e in order.examples.examples if key in e.values] for key in keys]
    weights = packed(np.zeros((16, 2)), np.zeros(16), np.zeros((len(keys), 16)), np.zeros(len(keys)))
    low, high = (tuple(end(values) for values in ends) for end in (min, max))
    mapping = Mapping(order.examples.knobs, keys, low, high, weights, fingerprint(order.examples))
    return protocol.Taught(order.ticket, mapping, (0.0,) * len(names), 0.0, 1, 0.1)


def server(arguments: list[str]) -> int:
    """The real server with these children."""
    from rack.server import trainee
    from rack.server.__main__ import main

    trainee.NICE = 0  # a polite trainer would wait for ever on a machine that tests keep busy
    fake = (sys.executable, "-m", "tests.rack.fakes")
    trainer = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
    sweeper = (sys.executable, str(Path(__file__).with_name("fake_sweeper.py")))
    children = {"engine": (*fake, "engine"), "workshop": (*fake, "workshop"), "scanner": ()}
    return main(arguments, boxes=CATALOGUE, **children, trainer=trainer, sweeper=sweeper)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "server":
        sys.exit(server(rest))
    {"engine": engine, "workshop": workshop}[what](*map(int, rest))
