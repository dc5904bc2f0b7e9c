"""Programs in the engine: loaded from files, warmed on copies, run a block at a time."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import serialize_executable

from rack.protocol import Line as LineMessage
from rack.protocol import Placed
from rack.shared import KNOBS


class Unfit(Exception):
    """A program cannot be loaded or does not fit the stream; the text says why."""


@dataclass
class Slot:
    """A slot that the engine runs: its numbers, and the state that goes from block to block."""

    row: int
    generation: int
    program: str
    run: Callable[..., Any]
    weights: tuple
    first_state: tuple  # numpy, never donated: what a slot falls back to
    state: tuple

    @property
    def key(self) -> tuple[int, int]:
        return self.row, self.generation


class Line:
    """Slots in series, run one by one or as one fused program."""

    def __init__(self, number: int, slots: list[Slot], fused=None):
        self.number, self.slots, self.fused = number, slots, fused
        self.keys = [slot.key for slot in slots]
        self.rows = np.array([slot.row for slot in slots], np.int64)
        self.targets = np.zeros((len(slots), KNOBS), np.float32)
        self.peaks = np.zeros(len(slots), np.float32)
        self._weights = tuple(slot.weights for slot in slots)

    def process(self, x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, Slot | None]:
        """One block `[T, C]` through all slots; answers with the output and the first slot whose output was not finite.

        Such a slot has put out silence for this block and starts again from its first state.
        """
        if not self.slots:
            return x, None
        targets.take(self.rows, axis=0, out=self.targets, mode="clip")
        broken, key = None, x
        if self.fused is not None:
            states = tuple(slot.state for slot in self.slots)
            x, states, reports = self.fused(self._weights, states, x, key, self.targets)
            reports = np.asarray(reports)
            for slot, state in zip(self.slots, states, strict=True):
                slot.state = state
            self.peaks[:] = reports[:, 0]
            if np.minimum.reduce(reports[:, 1]) == 0.0:
                broken = self._restart(reports[:, 1])
        else:
            for i, slot in enumerate(self.slots):
                x, (slot.state,), report = slot.run((slot.weights,), (slot.state,), x, key, self.targets[i : i + 1])
                report = np.asarray(report)
                self.peaks[i] = report[0, 0]
                if not report[0, 1]:
                    slot.state = slot.first_state
                    broken = broken or slot
        return np.asarray(x), broken

    def _restart(self, finite: np.ndarray) -> Slot:
        broken = [slot for slot, good in zip(self.slots, finite, strict=True) if not good]
        for slot in broken:
            slot.state = slot.first_state
        return broken[0]

    def fading_copy(self, stays: set[tuple[int, int]]) -> Line:
        """The same line for a few more blocks, beside the next one: slots that stay run on a copy of their state."""
        slots = []
        for slot in self.slots:
            state = tuple(np.array(array) for array in slot.state) if slot.key in stays else slot.state
            slots.append(Slot(slot.row, slot.generation, slot.program, slot.run, slot.weights, slot.first_state, state))
        return Line(self.number, slots, self.fused)


class Loader:
    """Turns files into lines, on the control thread: nothing here runs in the callback."""

    def __init__(self, targets: np.ndarray):
        self._targets = targets
        self._programs: dict[str, tuple[dict, Callable[..., Any]]] = {}
        self._warmed: set[str] = set()

    def line(self, message: LineMessage, playing: Line | None, *, block: int, channels: int) -> Line:
        """The line of a message; slots that `playing` has too are shared with it. Raises Unfit."""
        have = {slot.key: slot for slot in playing.slots} if playing else {}
        slots = [
            have.get((placed.row, placed.generation)) or self._slot(placed, block, channels) for placed in message.slots
        ]
        fused = None
        if message.fused:
            fused = self._program(message.fused, block, channels, len(slots))
            self._warm(message.fused, slots, block, channels)
        return Line(message.number, slots, fused)

    def keep_only(self, paths: set[str]) -> None:
        """Forget the programs that no line needs any more."""
        self._programs = {path: program for path, program in self._programs.items() if path in paths}
        self._warmed &= paths

    def _slot(self, placed: Placed, block: int, channels: int) -> Slot:
        run = self._program(placed.program, block, channels, 1)
        try:
            with open(placed.arrays, "rb") as file:
                known, weights, state = pickle.load(file)
            weights, state = tuple(map(jax.device_put, weights)), tuple(map(np.array, state))  # ours to write to
            state[0][:known] = self._targets[placed.row, :known]  # no knob has to glide to where it stands
        except Exception as error:  # as with programs: it is a cache file, and only worth a rebuild
            raise Unfit(f"{placed.arrays}: not the arrays of a slot ({type(error).__name__}: {error})") from None
        slot = Slot(placed.row, placed.generation, placed.program, run, weights, state, state)
        self._warm(placed.program, [slot], block, channels)
        return slot

    def _program(self, path: str, block: int, channels: int, slots: int):
        if path not in self._programs:
            try:
                with open(path, "rb") as file:
                    facts, *program = pickle.load(file)
                self._programs[path] = facts, serialize_executable.deserialize_and_load(*program)
            except Exception as error:  # an unreadable cache file, whatever is wrong with it, is only worth a rebuild
                raise Unfit(f"{path}: cannot be loaded ({type(error).__name__}: {error})") from None
        facts, run = self._programs[path]
        if facts != (wanted := {"block": block, "channels": channels, "slots": slots}):
            raise Unfit(f"{path}: built for {facts}, the stream wants {wanted}")
        return run

    def _warm(self, path: str, slots: list[Slot], block: int, channels: int) -> None:
        """The first call of a program is slow: make it here, on copies."""
        if path in self._warmed:
            return
        self._warmed.add(path)
        _, run = self._programs[path]
        x, targets = np.zeros((block, channels), np.float32), np.zeros((len(slots), KNOBS), np.float32)
        states = tuple(slot.first_state for slot in slots)
        for _ in range(2):
            _, states, _ = run(tuple(slot.weights for slot in slots), states, x, x, targets)
