"""The workshop process: `python -m rack.workshop.build FD` takes orders on a socket and answers with files.

It is warm (everything imported) and polite (low priority); it never touches audio. Orders are carried out one at a
time; a Fuse that newer orders have overtaken is dropped.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import traceback
from pathlib import Path

from jaxmodels.effect import Effect
from rack import protocol
from rack.paths import cache_folder
from rack.protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, WorkshopReady

from . import programs
from .boxes import box_for, knob_infos, parameters
from .row import Prepared, prepare


class Workshop:
    """Carries out orders; remembers the boxes it has made, so that fusing them costs no loading."""

    REMEMBERED = 64

    def __init__(self, folder: Path):
        self.folder = folder
        self._effects: dict[tuple, Effect] = {}

    def order(self, order: Build | Fuse):
        """Built or Fused, or Failed with the reason in words."""
        start = time.monotonic()
        try:
            done = self._build(order) if isinstance(order, Build) else self._fuse(order)
        except (ValueError, KeyError, OSError) as error:
            return Failed(order.ticket, str(error.args[0]) if isinstance(error, KeyError) else str(error))
        except Exception as error:  # a fault of ours: the musician gets a line, the log the whole story
            traceback.print_exc()
            return Failed(order.ticket, f"{type(error).__name__} while building: {error}")
        return done(time.monotonic() - start)

    def _box(self, spec: BoxSpec, order: Build | Fuse) -> Prepared:
        stamp = os.stat(spec.model).st_mtime_ns if spec.model else 0
        key = (spec.key(), stamp, order.channels, order.rate)
        if key not in self._effects:
            while len(self._effects) >= self.REMEMBERED:
                del self._effects[next(iter(self._effects))]
            self._effects[key] = box_for(spec, order.rate, order.channels)
        return prepare(self._effects[key], spec.positions, order.block)

    def _build(self, order: Build):
        box = self._box(order.box, order)
        compiled = programs.build(
            [box], channels=order.channels, rate=order.rate, block=order.block, folder=self.folder
        )
        arrays = programs.keep_arrays(box, self.folder)
        effect = box.effect
        knobs = knob_infos(effect)
        return lambda seconds: Built(
            ticket=order.ticket,
            program=str(compiled.path),
            arrays=str(arrays),
            knobs=knobs,
            values=tuple(knob.default for knob in knobs),
            latency=effect.latency,
            receptive_field=effect.receptive_field,
            parameters=parameters(effect),
            sample_rate=effect.sample_rate,
            seconds=seconds,
            cached=compiled.cached,
        )

    def _fuse(self, order: Fuse):
        row = [self._box(spec, order) for spec in order.boxes]
        compiled = programs.build(row, channels=order.channels, rate=order.rate, block=order.block, folder=self.folder)
        return lambda seconds: Fused(order.ticket, str(compiled.path), seconds, compiled.cached)


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    folder = cache_folder() / "programs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    programs.forget_oldest(folder)
    reader, workshop = protocol.Reader(protocol.ToWorkshop), Workshop(folder)
    connection.sendall(protocol.frame(WorkshopReady(os.getpid())))
    try:
        while True:
            order = reader.receive(connection)
            newer = select.select([connection], [], [], 0)[0]
            if isinstance(order, Fuse) and newer:
                continue
            connection.sendall(protocol.frame(workshop.order(order)))
    except (EOFError, ConnectionError):
        pass


if __name__ == "__main__":
    main()
