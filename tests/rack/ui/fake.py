"""A server that speaks the real protocol over a real socket and plays nothing: what it is told, it notes and obeys."""

from __future__ import annotations

import asyncio
import math
import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from rack.catalogue import BoxInfo, KnobInfo, SettingInfo
from rack.protocol import (
    AudioView,
    FromClient,
    Get,
    Hello,
    Reader,
    Reply,
    Set,
    SlotView,
    Snapshot,
    Subscribe,
    Telemetry,
    Turned,
    View,
    frame,
)


def knob(name: str, unit: str = "", low: float = 0.0, high: float = 1.0, default: float = 0.5, **more) -> KnobInfo:
    return KnobInfo(name, unit, low, high, default, **more)


_DB = (-15.0, 15.0, 0.0)
_SETTINGS = (
    SettingInfo("seed", "int", 7, 0, 9999, help="which network"),
    SettingInfo("layers", "int", 4, 1, 16, help="how deep"),
    SettingInfo("activation", "str", "tanh", choices=("tanh", "relu", "sine"), help="what bends the signal"),
    SettingInfo("stereo", "bool", False, help="a network for each channel"),
    SettingInfo("impulse", "str", "", help="an audio file"),
)
_KNOBS = {
    "gain": (knob("gain", "dB", -24, 24, 0),),
    "noise_gate": (knob("threshold", "dB", -80, 0, -60), knob("release", "ms", 5, 500, 80, curve="log")),
    "overdrive": (knob("drive", default=0.4), knob("tone", default=0.6), knob("level", "dB", -24, 12, -3)),
    "eq": (
        knob("low", "dB", *_DB),
        knob("low_mid", "dB", *_DB),
        knob("mid", "dB", *_DB),
        knob("frequency", "Hz", 200, 5000, 900, curve="log"),
        knob("high", "dB", *_DB),
    ),
    "delay": (
        knob("time", "ms", 1, 2000, 350, curve="log"),
        knob("feedback", default=0.35),
        knob("mix", default=0.25),
        knob("mode", "", 0, 2, 0, labels=("mono", "ping", "tape")),
    ),
    "reverb": (
        knob("size", default=0.6),
        knob("decay", "s", 0.1, 20, 2.2, curve="log"),
        knob("damping", default=0.4),
        knob("mix", default=0.2),
    ),
    "limiter": (),
}
_HELP = {
    "gain": "Louder or softer",
    "noise_gate": "Silence between the notes",
    "overdrive": "A random network that distorts",
    "eq": "Five bands",
    "delay": "Echoes, up to two seconds apart",
    "reverb": "A room, from a closet to a cathedral",
    "limiter": "At the end of every rack",
}
BOXES = {
    kind: BoxInfo(kind, _HELP[kind], knobs, _SETTINGS if kind == "overdrive" else ()) for kind, knobs in _KNOBS.items()
}
MODEL_KNOBS = (knob("input", "dB", -12, 12, 0), knob("drive", default=0.5), knob("output", "dB", -12, 12, 0))


def slot(kind: str, *values: float, name: str = "", **more) -> SlotView:
    """A slot of a kind from the table; values not given are the defaults."""
    infos = BOXES[kind].knobs if kind in BOXES else MODEL_KNOBS
    return SlotView(
        id=name or kind,
        type=kind,
        knobs=more.pop("knobs", infos),
        values=(*values, *(info.default for info in infos[len(values) :])),
        receptive_field=1,
        **more,
    )


def lead() -> View:
    """A rack with a bit of everything."""
    return View(
        rack="plexi lead",
        racks=("clean", "plexi lead", "ambient wash"),
        slots=(
            slot("noise_gate", -58.0, 120.0),
            slot("model", 2.5, 0.68, -3.5, name="plexi", model="/models/plexi-drive.nam", latency=0, parameters=13802),
            slot("eq", 1.5, -2.0, 3.5, 1350.0, 2.0),
            slot("delay", 420.0, 0.42, 0.3, 1.0),
            slot("reverb", 0.7, 3.4, 0.35, 0.22),
        ),
        modified=True,
        xy=("plexi.drive", "delay.mix"),
        audio=AudioView(backend="portaudio", device="card 0", rate=48000, block=64),
    )


def levels(step: int = 0, slots: int = 5, scope: bool = True) -> Telemetry:
    """Telemetry of a made-up signal at a moment."""
    wave = 6.0 * math.sin(step / 3.0)
    dry, wet = array("f"), array("f")
    for i in range(960 if scope else 0):
        t = (i + 37 * step) / 48000
        x = 0.42 * math.sin(1231.5 * t) + 0.16 * math.sin(3694.5 * t + 1) + 0.05 * math.sin(11000 * t)
        dry.append(x * 0.6)
        wet.append(0.8 * math.tanh(3.2 * x) + 0.04 * math.sin(9000 * t))
    return Telemetry(
        input_db=(-19.0 + wave, -20.5 + wave),
        output_db=(-9.0 + wave, -8.0 + wave * 0.9),
        input_hold_db=(-11.0, -12.0),
        output_hold_db=(-2.2, -1.6),
        input_max_db=-10.4,
        output_max_db=-0.8,
        slots_db=tuple(-30.0 + 5 * i + wave for i in range(slots)),
        load=0.31,
        late=0,
        blocks=750 * step,
        scope_in=dry.tobytes(),
        scope_out=wet.tobytes(),
    )


class FakeServer:
    """Listens at `path`; `sets` are the changes it was told, `push` sends telemetry to everybody."""

    def __init__(self, path: Path, view: View | None = None):
        self.path, self.view = path, view or lead()
        self.sets: list[Set] = []
        self.subscriptions: list[Subscribe] = []
        self.hellos: list[Hello] = []
        self.refuse: dict[str, str] = {}  # key: the error to answer with
        self.answers: dict[str, Any] = {}  # key: what a Get, or a Set with a request number, is answered with
        self.echo = True
        self.sequence = 0
        self._undo: list[View] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task] = set()
        self._server: asyncio.AbstractServer | None = None

    async def __aenter__(self) -> FakeServer:
        await self.start()
        return self

    async def __aexit__(self, *_) -> None:
        await self.stop()

    async def start(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self._server = await asyncio.start_unix_server(self._serve, path=str(self.path))

    async def stop(self) -> None:
        """Hang up on everybody."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()
        await self._server.wait_closed()

    def last(self, key: str) -> Any:
        """The value of the last change of this key."""
        return next(message.value for message in reversed(self.sets) if message.key == key)

    def send(self, message) -> None:
        for writer in self._writers:
            if not writer.is_closing():
                writer.write(frame(message))

    def push(self, telemetry: Telemetry) -> None:
        self.send(telemetry)

    def show(self, view: View) -> None:
        """A new view for everybody."""
        self.view, self.sequence = view, self.sequence + 1
        self.send(Snapshot(self.sequence, view))

    async def _serve(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        reader = Reader(FromClient)
        try:
            while True:
                message = await reader.read(stream)
                if isinstance(message, Hello):
                    self.hellos.append(message)
                    self._writers.append(writer)
                    writer.write(frame(Snapshot(self.sequence, self.view)))
                elif isinstance(message, Subscribe):
                    self.subscriptions.append(message)
                elif isinstance(message, Get):
                    found = {"models": ["/models/plexi-drive.nam", "/models/twin.nam"]}.get(message.key)
                    writer.write(frame(Reply(message.request, self.answers.get(message.key, found))))
                elif isinstance(message, Set):
                    self._obey(message, writer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _obey(self, message: Set, writer: asyncio.StreamWriter) -> None:
        self.sets.append(message)
        error = self.refuse.get(message.key, "")
        if message.request:
            writer.write(frame(Reply(message.request, self.answers.get(message.key), error)))
        if error:
            return
        before = self.view
        after = self._after(message.key, message.value)
        if message.key == "undo":
            after = self._undo.pop() if self._undo else before
        elif after is not before and (not message.gesture or message.gesture != getattr(self, "_gesture", None)):
            self._undo.append(before)
        self._gesture = message.gesture
        knob = message.key.partition(".")[2]
        if after is not before and isinstance(message.value, float) and knob:
            self.view, self.sequence = after, self.sequence + 1
            if self.echo:
                self.send(Turned(self.sequence, message.key, message.value))
        elif after is not before:
            self.show(after)

    def _after(self, key: str, value: Any) -> View:
        view = self.view
        place, _, rest = key.partition(".")
        at = next((i for i, s in enumerate(view.slots) if s.id == place), None)
        if at is not None:
            one = view.slots[at]
            names = [info.name for info in one.knobs]
            if rest in names:
                values = tuple(value if n == rest else v for n, v in zip(names, one.values, strict=True))
                one = replace(one, values=values)
            elif rest == "bypass":
                one = replace(one, bypass=value)
            elif rest.startswith("settings."):
                one = replace(one, settings={**one.settings, rest[9:]: value})
            elif rest == "model":
                one = replace(one, model=value)
            return replace(view, slots=(*view.slots[:at], one, *view.slots[at + 1 :]), modified=True)
        if key == "slots.add":
            names = {s.id for s in view.slots}
            name = next(n for n in (value["type"], *(f"{value['type']}-{i}" for i in range(2, 99))) if n not in names)
            new = slot(value["type"], name=name, model=value.get("model", ""))
            slots = list(view.slots)
            slots.insert(value["index"], new)
            return replace(view, slots=tuple(slots), modified=True)
        if key == "slots.remove":
            return replace(view, slots=tuple(s for s in view.slots if s.id != value), modified=True)
        if key == "slots.move":
            slots = list(view.slots)
            slots.insert(value[1], slots.pop(next(i for i, s in enumerate(slots) if s.id == value[0])))
            return replace(view, slots=tuple(slots), modified=True)
        if key == "xy":
            for axis, position in zip(view.xy, value, strict=True):
                info = next(k for s in view.slots for k in s.knobs if f"{s.id}.{k.name}" == axis)
                self.view = self._after(axis, info.value(position))
            return replace(self.view)
        if key in ("xy.x", "xy.y"):
            return replace(view, xy=(value, view.xy[1]) if key == "xy.x" else (view.xy[0], value))
        if key == "rack.step":
            names = view.racks
            return replace(view, rack=names[(names.index(view.rack) + value) % len(names)], modified=False)
        if key == "compare":
            return replace(view, compare="B" if view.compare == "A" else "A")
        if key == "record":
            return replace(view, recording="/recordings/take.wav" if value else "")
        if key == "source":
            return replace(view, source=value.partition(":")[0], source_path=value.partition(":")[2])
        if key == "save":
            return replace(view, modified=False, rack=value or view.rack)
        if key in ("bypass", "mute", "rack"):
            return replace(view, **{key: value})
        return view
