"""An engine process on a leash: start it, send it messages, wait for answers."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jaxmodels.effect import default_positions
from rack import protocol
from rack.protocol import Line, Placed, Quit, Stream
from rack.shared import Shared
from rack.workshop import programs
from rack.workshop.row import prepare


class EngineProcess:
    """`with EngineProcess() as engine:`; `engine.wait(Took)` answers with the message, `engine.seen` has them all."""

    def __enter__(self):
        ours, theirs = socket.socketpair()
        self.connection, self.shared, self.seen = ours, Shared(), []
        self.reader = protocol.Reader(protocol.FromEngine)
        arguments = [sys.executable, "-m", "rack.engine.process", str(theirs.fileno()), str(self.shared.fd)]
        self.process = subprocess.Popen(arguments, pass_fds=(theirs.fileno(), self.shared.fd))
        theirs.close()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.send(Quit())
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()

    def send(self, message):
        self.connection.sendall(protocol.frame(message))

    def wait(self, kind, seconds: float = 60.0):
        """The next message of this kind."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if select.select([self.connection], [], [], 0.1)[0]:
                message = self.reader.receive(self.connection)
                self.seen.append(message)
                if isinstance(message, kind):
                    return message
        raise AssertionError(f"no {kind} within {seconds} s; seen: {self.seen}")


class Bench:
    """Builds slots and lines as the workshop does, into a folder, and keeps their targets in shared memory."""

    def __init__(self, folder: Path, shared: Shared, *, block: int = 64, channels: int = 2, rate: int = 48000):
        self.folder, self.shared = folder, shared
        self.block, self.channels, self.rate = block, channels, rate
        self.prepared, self.next_row, self.next_line = {}, 0, 0

    def slot(self, effect, positions=None) -> Placed:
        box = prepare(effect, positions, self.block)
        compiled = programs.build([box], channels=self.channels, rate=self.rate, block=self.block, folder=self.folder)
        arrays = programs.keep_arrays(box, self.folder)
        row, self.next_row = self.next_row, self.next_row + 1
        targets = default_positions(effect) if positions is None else positions
        self.shared.targets[row, 0] = 1.0
        self.shared.targets[row, 1 : 1 + len(targets)] = targets
        self.prepared[row] = box
        return Placed(row, 1, str(compiled.path), str(arrays))

    def line(self, *slots: Placed, fused: bool = False) -> Line:
        self.next_line += 1
        path = ""
        if fused:
            row = [self.prepared[slot.row] for slot in slots]
            path = str(
                programs.build(row, channels=self.channels, rate=self.rate, block=self.block, folder=self.folder).path
            )
        return Line(self.next_line, slots, path)

    def files(self, folder: Path, x: np.ndarray, **stream) -> Stream:
        """A stream from a file to a file, without any clock."""
        np.save(folder / "in.npy", x)
        return Stream(
            backend="files",
            input_device=str(folder / "in.npy"),
            output_device=str(folder / "out.npy"),
            inputs=tuple(range(1, x.shape[1] + 1)),
            rate=self.rate,
            block=self.block,
            channels=self.channels,
            **stream,
        )


def alive(pid: int) -> bool:
    """Whether a process still runs; one that waits for its parent to notice that it ended does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
