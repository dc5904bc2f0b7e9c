"""The workshop process: `python -m rack.workshop.build FD` takes orders on a socket and answers with files.

It is warm (everything imported) and polite (low priority); it never touches audio. Orders are carried out one at a
time; a Fuse that newer orders have overtaken is dropped. What was answered once is answered from memory, for which
nothing heavy need be imported: the imports wait for the first new order, or for an idle moment.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from jaxmodels import xla
from rack import protocol
from rack.paths import cache_folder
from rack.protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, WorkshopReady

from . import memo

if TYPE_CHECKING:
    from jaxmodels.effect import Effect

    from .row import Prepared

IDLE_S = 1.0


class Workshop:
    """Carries out orders; remembers the boxes it has made, so that fusing them costs no loading."""

    REMEMBERED = 64

    def __init__(self, folder: Path):
        self.folder = folder
        self._effects: dict[tuple, Effect] = {}

    def order(self, order: Build | Fuse) -> Built | Fused | Failed:
        """Built or Fused, or Failed with the reason in words."""
        try:
            return memo.recall(order, self.folder) or self._make(order)
        except (ValueError, KeyError, OSError) as error:
            return Failed(order.ticket, str(error.args[0]) if isinstance(error, KeyError) else str(error))
        except Exception as error:  # a fault of ours: the musician gets a line, the log the whole story
            traceback.print_exc()
            return Failed(order.ticket, f"{type(error).__name__} while building: {error}")

    def _make(self, order: Build | Fuse) -> Built | Fused:
        start, positions = time.monotonic(), None
        if isinstance(order, Build):
            message, depends = self._build(order)
            positions = order.box.positions if depends else None
        else:
            message = self._fuse(order)
        memo.remember(order, message, positions, self.folder)
        return replace(message, seconds=time.monotonic() - start)

    def _box(self, spec: BoxSpec, order: Build | Fuse) -> Prepared:
        from .boxes import box_for
        from .row import prepare

        stamp = os.stat(spec.model).st_mtime_ns if spec.model else 0
        key = (spec.key(), stamp, order.channels, order.rate)
        if key not in self._effects:
            while len(self._effects) >= self.REMEMBERED:
                del self._effects[next(iter(self._effects))]
            self._effects[key] = box_for(spec, order.rate, order.channels)
        return prepare(self._effects[key], spec.positions, order.block)

    def _build(self, order: Build) -> tuple[Built, bool]:
        """The answer, and whether the first state depends on where the knobs stand."""
        from . import programs
        from .boxes import knob_infos, parameters
        from .row import knobs_matter

        box = self._box(order.box, order)
        effect = box.effect
        compiled = programs.build(
            [box], channels=order.channels, rate=order.rate, block=order.block, folder=self.folder
        )
        knobs = knob_infos(effect)
        built = Built(
            ticket=order.ticket,
            program=str(compiled.path),
            arrays=str(programs.keep_arrays(box, self.folder)),
            knobs=knobs,
            values=tuple(knob.default for knob in knobs),
            latency=effect.latency,
            receptive_field=effect.receptive_field,
            parameters=parameters(effect),
            sample_rate=effect.sample_rate,
            seconds=0.0,
            cached=compiled.cached,
        )
        return built, knobs_matter(effect)

    def _fuse(self, order: Fuse) -> Fused:
        from . import programs

        row = [self._box(spec, order) for spec in order.boxes]
        compiled = programs.build(row, channels=order.channels, rate=order.rate, block=order.block, folder=self.folder)
        return Fused(order.ticket, str(compiled.path), 0.0, compiled.cached)


def main() -> None:
    xla.for_programs()
    connection = socket.socket(fileno=int(sys.argv[1]))
    folder = cache_folder() / "programs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader, workshop = protocol.Reader(protocol.ToWorkshop), Workshop(folder)
    connection.sendall(protocol.frame(WorkshopReady(os.getpid())))
    try:
        if not select.select([connection], [], [], IDLE_S)[0]:
            warm_up(folder)
        while True:
            order = reader.receive(connection)
            newer = select.select([connection], [], [], 0)[0]
            if isinstance(order, Fuse) and newer:
                continue
            connection.sendall(protocol.frame(workshop.order(order)))
            if not select.select([connection], [], [], IDLE_S)[0]:
                warm_up(folder)
    except (EOFError, ConnectionError):
        pass


def warm_up(folder: Path) -> None:
    """Import everything, so that the next new order is only work; done once, in an idle moment."""
    if "rack.workshop.boxes" not in sys.modules:
        from . import boxes, programs  # noqa: F401

        programs.forget_oldest(folder)


if __name__ == "__main__":
    main()
