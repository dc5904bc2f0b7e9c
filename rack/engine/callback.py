"""What happens to one block of sound: the audio callback, whatever calls it."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from rack.protocol import Stream
from rack.shared import TAPE, Shared, put, take

from .meters import Deadlines, meter
from .program import Line

FADE_IN_S = 0.05  # from silence when a stream starts
MUTE_S = 0.02
CROSSFADE_S = 0.02  # between an old line and a new one
NO_LINE = Line(0, [])


class Callback:
    """Turns input blocks into output blocks.

    The control thread writes `next_line`, `tape`, `recording` and `mute`, each by a single assignment; the callback
    reads them at block edges. What it has to tell goes into `events`, which the control thread empties.
    """

    def __init__(self, shared: Shared, stream: Stream, tape: bool, mute: bool):
        self.shared, self.stream = shared, stream
        self.next_line: Line | None = None
        self.tape, self.recording, self.mute = tape, False, mute
        self.events: deque[tuple] = deque(maxlen=256)
        self.line = NO_LINE
        self.deadlines = Deadlines(stream.block / stream.rate)
        self._fading: Line | None = None
        self._faded = 0  # samples of the crossfade done
        self._since = 0.0  # when the first block of the line was made
        self._gain = 0.0
        self._played_tape = tape
        self._x = np.zeros((stream.block, stream.channels), np.float32)
        self._tape_block = np.zeros((stream.block, 2), np.float32)
        self._ramp = np.arange(1, stream.block + 1, dtype=np.float32)[:, None]
        for counter in (shared.blocks, shared.late, shared.nonfinite, shared.errors, shared.starved, shared.lost):
            counter[0] = 0
        shared.times_us.fill(0)  # all its memory is there before the first block

    @property
    def changing(self) -> bool:
        """Whether a line is on its way in."""
        return self.next_line is not None or self._fading is not None

    @property
    def silent(self) -> bool:
        """Whether the output has faded out completely."""
        return self._gain == 0.0

    def __call__(self, inputs: np.ndarray | None, outputs: np.ndarray, start: float | None = None) -> None:
        """Fill `outputs` `[T, device channels]` from `inputs` `[T, device channels]`; never raises, never waits.

        `start` is when the block was due to begin, where the caller knows it.
        """
        began = time.perf_counter()
        shared = self.shared
        try:
            x = self._input(inputs)
            y = self._process(x)
            y = self._level(y)
            meter(shared, x, y)
            if self.recording:
                self._record(y)
            self._output(y, outputs)
        except Exception as error:  # the sound goes on: silence for this block, one event
            outputs.fill(0)
            shared.errors[0] += 1
            self.events.append(("exception", -1, f"{type(error).__name__}: {error}"))
        ended = time.perf_counter()
        self._count(began if start is None else start, began, ended)

    def _count(self, due: float, began: float, ended: float) -> None:
        shared, busy_us = self.shared, (ended - began) * 1e6
        self.deadlines.block(due, ended)
        shared.times_us[int(shared.blocks[0]) % len(shared.times_us)] = busy_us
        shared.busy_us[0] += (busy_us - shared.busy_us[0]) * 0.02
        shared.late[0] = self.deadlines.late
        shared.blocks[0] += 1

    # --- in ---------------------------------------------------------------------------------------------------------

    def _input(self, inputs: np.ndarray | None) -> np.ndarray:
        """The block that the rack hears, faded over one block where the source changes."""
        shared, x = self.shared, self._x
        if self.line is NO_LINE and self.next_line is None:
            x.fill(0)  # the tape waits for the first line, so that a rack hears a file from its first sample on
            return x
        jump = self._played_tape and shared.tape_from[0] > shared.tape_read[0]
        if self.tape == self._played_tape and not jump:
            self._fetch(inputs, self.tape)
            return x
        self._fetch(inputs, self._played_tape)
        fade_in = self._ramp / self.stream.block
        leaving = x * (1.0 - fade_in)
        self._played_tape = self.tape
        shared.tape_read[0] = max(shared.tape_read[0], shared.tape_from[0])
        self._fetch(inputs, self.tape)
        x *= fade_in
        x += leaving
        return x

    def _fetch(self, inputs: np.ndarray | None, tape: bool) -> None:
        if tape:
            self._spread(self._from_tape(), (1, 2))
        elif inputs is None or not self.stream.inputs:
            self._x.fill(0)
        else:
            self._spread(inputs, self.stream.inputs)

    def _from_tape(self) -> np.ndarray:
        """The next block of the tape; silence where the server has not filled it."""
        shared, block, read = self.shared, self._tape_block, int(self.shared.tape_read[0])
        if shared.tape_written[0] - read >= len(block):
            take(shared.tape, read, block)
            shared.tape_read[0] = read + len(block)
        else:
            block.fill(0)
            if read > shared.tape_from[0]:
                shared.starved[0] += 1
        return block

    def _spread(self, source: np.ndarray, channels: tuple[int, ...]) -> None:
        """Put the chosen channels of a block on the rack's: one on both, two on one as their mean."""
        x = self._x
        if x.shape[1] == 1 and len(channels) > 1:
            np.add(source[:, channels[0] - 1], source[:, channels[1] - 1], out=x[:, 0])
            x *= 0.5
            return
        for c in range(x.shape[1]):
            x[:, c] = source[:, channels[min(c, len(channels) - 1)] - 1]

    # --- through ----------------------------------------------------------------------------------------------------

    def _process(self, x: np.ndarray) -> np.ndarray:
        if self.next_line is not None and self._fading is None:
            new, self.next_line = self.next_line, None
            self._since = time.monotonic()
            if self.line is NO_LINE:
                self.deadlines.late = 0  # until now there was nothing to be heard
            if new.keys != self.line.keys:
                self._fading, self._faded = self.line.fading_copy(set(new.keys)), 0
            else:
                self.events.append(("took", new.number, self._since))
            self.line = new
        targets = self.shared.targets
        y, broken = self.line.process(x, targets)
        if self._fading is not None:
            y = self._crossfade(self._fading.process(x, targets)[0], y)
        if broken is not None:
            self.shared.nonfinite[0] += 1
            self.events.append(("nonfinite", broken.row, ""))
        peaks, rows = self.shared.peaks, self.line.rows
        peaks[rows] = np.maximum(peaks[rows], self.line.peaks)
        return y

    def _crossfade(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        samples = max(1, int(CROSSFADE_S * self.stream.rate))
        mix = np.minimum((self._faded + self._ramp) / samples, 1.0)
        self._faded += self.stream.block
        if self._faded >= samples:
            self._fading = None
            self.events.append(("took", self.line.number, self._since))
        return old * (1.0 - mix) + new * mix

    def _level(self, y: np.ndarray) -> np.ndarray:
        """Fade in at the start, out and in at mute: one straight line a block."""
        goal = 0.0 if self.mute or self.line is NO_LINE else 1.0
        if self._gain == goal:
            return y if goal else np.zeros_like(y)
        seconds = MUTE_S if goal == 0.0 or self.shared.blocks[0] * self.stream.block > self.stream.rate else FADE_IN_S
        step = (1.0 if goal > self._gain else -1.0) / (seconds * self.stream.rate)
        gains = np.clip(self._gain + step * self._ramp, 0.0, 1.0).astype(np.float32)
        self._gain = float(gains[-1, 0])
        if abs(self._gain - goal) < 1e-6:
            self._gain = goal
        return y * gains

    # --- out --------------------------------------------------------------------------------------------------------

    def _record(self, y: np.ndarray) -> None:
        shared = self.shared
        if shared.record_written[0] - shared.record_read[0] + len(y) > TAPE:
            shared.lost[0] += len(y)
            return
        block = self._tape_block  # free again: the tape was read at the start
        block[:, 0], block[:, 1] = y[:, 0], y[:, -1]
        put(shared.record, shared.record_written, block)

    def _output(self, y: np.ndarray, outputs: np.ndarray) -> None:
        chosen = self.stream.outputs
        if len(chosen) < outputs.shape[1]:
            outputs.fill(0)
        for i, channel in enumerate(chosen):
            if channel <= outputs.shape[1]:
                outputs[:, channel - 1] = y[:, min(i, y.shape[1] - 1)]
