"""The workshop process: `python -m rack.workshop.build FD` takes orders on a socket and answers with files.

It is warm (everything imported) and polite (low priority); it never touches audio. Orders are carried out one at a
time, but for Fuse: nobody waits for one, and it may take half a minute, so it is done on the side; one that newer
orders have overtaken before it was begun is dropped. What was answered once is answered from memory, for which nothing
heavy need be imported: the imports wait for the first new order, or for an idle moment.
"""

from __future__ import annotations

import os
import select
import socket
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from jaxmodels import xla
from rack import protocol
from rack.library import Library, LibraryError
from rack.maps import Map, Mapped
from rack.paths import cache_folder, library_path
from rack.protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, Taught, Teach, WorkshopReady

from . import memo

if TYPE_CHECKING:
    import numpy as np

    from jaxmodels.effect import Effect

    from .boxes import Made
    from .programs import Compiled
    from .row import Prepared

IDLE_S = 1.0


class Workshop:
    """Carries out orders; remembers the boxes it has made, so that fusing them costs no loading."""

    REMEMBERED = 64

    def __init__(self, folder: Path, pressed: Callable[[], bool] = lambda: False):
        self.folder = folder
        self._pressed = pressed  # whether another order waits
        self._lock = threading.Lock()  # orders are carried out in two threads, see `OnTheSide`
        self._effects: dict[tuple, Made] = {}
        self._programs: dict[tuple, Path] = {}  # by structure: what was traced once need not be again
        self.unmeasured: dict[str, tuple[Build, Built]] = {}  # by model file: what it costs is not known yet

    def order(self, order: Build | Fuse | Teach | Map) -> Built | Fused | Taught | Mapped | Failed:
        """Built, Fused, Taught or Mapped, or Failed with the reason in words."""
        try:
            if isinstance(order, Teach):
                from .superknob import teach

                return teach(order)
            if isinstance(order, Map):
                from .maps import draw

                return draw(order, self.folder, self._pressed)
            answer = memo.recall(order, self.folder) or self._make(order)
            if isinstance(answer, Built) and isinstance(order, Build) and order.box.model:
                self.unmeasured[order.box.model] = (order, answer)
            return answer
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
        from .row import prepare

        return prepare(self._made(spec, order).effect, spec.positions, order.block)

    def _made(self, spec: BoxSpec, order: Build | Fuse) -> Made:
        from jaxmodels.levels import Interface

        from .boxes import made

        key = (spec.key(), *memo.stamps(spec), order.channels, order.rate, order.levels_dbu)
        if (found := self._effects.get(key)) is None:
            interface, play = Interface(*order.levels_dbu), partial(self._play, order)
            found = made(spec, order.rate, order.channels, interface, play)
            with self._lock:
                while len(self._effects) >= self.REMEMBERED:
                    del self._effects[next(iter(self._effects))]
                self._effects[key] = found
        return found

    def _play(self, order: Build | Fuse, effect: Effect, rate: int) -> np.ndarray:
        """What a box makes of a guitar, by the program that it will play with: no other need be compiled."""
        from jaxmodels.levels import guitar_signal

        from . import programs
        from .row import prepare

        box = prepare(effect, longest=order.block)
        guitar = guitar_signal(rate)[:, None].repeat(effect.channels, axis=1)
        return programs.played(self._program([box], order).path, box, guitar)[:, 0]

    def _build(self, order: Build) -> tuple[Built, bool]:
        """The answer, and whether the first state depends on where the knobs stand."""
        from . import programs
        from .boxes import knob_infos, parameters
        from .row import knobs_matter

        box, about = self._box(order.box, order), self._made(order.box, order)
        effect = box.effect
        compiled = self._program([box], order)
        knobs, depends = knob_infos(effect), knobs_matter(effect)
        built = Built(
            ticket=order.ticket,
            program=str(compiled.path),
            arrays=str(programs.keep_arrays(box, self.folder)),
            knobs=knobs,
            values=tuple(knob.default for knob in knobs),
            latency=effect.latency,
            receptive_field=effect.receptive_field,
            parameters=parameters(effect),
            sample_rate=about.sample_rate,
            input_db=about.input_db,
            remarks=about.remarks,
            seconds=0.0,
            cached=compiled.cached,
            anywhere=not depends,
        )
        return built, depends

    def _fuse(self, order: Fuse) -> Fused:
        compiled = self._program([self._box(spec, order) for spec in order.boxes], order)
        return Fused(order.ticket, str(compiled.path), 0.0, compiled.cached)

    def measure(self) -> None:
        """Find out what one of the models costs, and write it into the library; one that is known costs nothing."""
        from .cost import cost_ns

        model, (order, built) = self.unmeasured.popitem()
        with suppress(LibraryError, OSError, ValueError, sqlite3.Error), Library(library_path()) as library:
            if library.cost(model, order.block) is None and library.entry(model):
                library.measured(model, order.block, cost_ns(built.program, built.arrays, order.block, order.channels))

    def _program(self, row: list[Prepared], order: Build | Fuse) -> Compiled:
        """The program of a row, without tracing it where one of this structure is known."""
        from . import programs

        stream = {"channels": order.channels, "rate": order.rate, "block": order.block}
        key = programs.structure(row, **stream)
        known = self._programs.get(key) if key else None
        if known and known.exists():
            os.utime(known)
            return programs.Compiled(known, True)
        compiled = programs.build(row, **stream, folder=self.folder)
        if key:
            self._programs[key] = compiled.path
        return compiled


class OnTheSide:
    """Carries out one order after another in a thread of its own; of those that wait only the newest is done."""

    def __init__(self, work: Callable[[Fuse], None]):
        self._work = work
        self._orders: SimpleQueue[Fuse] = SimpleQueue()
        self._busy = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether something is being done or waits."""
        return self._busy.is_set() or not self._orders.empty()

    def put(self, order: Fuse) -> None:
        """Have this done, instead of whatever was not begun yet."""
        self._orders.put(order)

    def _run(self) -> None:
        while True:
            order = self._orders.get()
            self._busy.set()
            while not self._orders.empty():
                order = self._orders.get()
            with suppress(OSError):  # nobody listens any more: the process is about to end
                self._work(order)
            self._busy.clear()


def waits(connection: socket.socket, seconds: float = 0.0) -> bool:
    """Whether an order has come, or comes within this time."""
    return bool(select.select([connection], [], [], seconds)[0])


def serve(connection: socket.socket, workshop: Workshop, chores: Sequence[Callable[[], None]] = ()) -> None:
    """Answer orders until the other side is gone; the chores are done in idle moments, each once, the last first."""
    waiting, sending = list(chores), threading.Lock()

    def idle() -> bool:
        return not waits(connection, IDLE_S) and not aside.busy

    def answer(order: Build | Fuse | Teach | Map) -> None:
        message = protocol.frame(workshop.order(order))
        with sending:
            connection.sendall(message)

    reader, aside = protocol.Reader(protocol.ToWorkshop), OnTheSide(answer)
    with suppress(EOFError, ConnectionError):
        while True:
            while waiting and idle():
                waiting.pop()()
            while workshop.unmeasured and idle():
                workshop.measure()
            order = reader.receive(connection)
            if waits(connection) and (isinstance(order, Fuse) or (isinstance(order, Build) and order.ahead)):
                continue
            if isinstance(order, Fuse):
                aside.put(order)
            else:
                answer(order)


def main() -> None:
    xla.for_programs()
    connection = socket.socket(fileno=int(sys.argv[1]))
    folder = cache_folder() / "programs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    workshop = Workshop(folder, partial(waits, connection))
    connection.sendall(protocol.frame(WorkshopReady(os.getpid())))
    serve(connection, workshop, [rehearse_teaching, partial(warm_up, folder)])


def warm_up(folder: Path) -> None:
    """Import everything, so that the next new order is only work."""
    from . import programs

    import_module("rack.workshop.boxes")
    programs.forget_oldest(folder)


def rehearse_teaching() -> None:
    """Compile what trains the SuperKnob, so that the first examples are learned in a moment too."""
    from .superknob import rehearse

    rehearse()


if __name__ == "__main__":
    main()
