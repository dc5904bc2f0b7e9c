"""Where blocks come from: a sound card through PortAudio, a clock of our own, or files without any clock.

A backend is started with the callback and stopped; `problem()` says why it cannot go on, or None.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np

from rack.protocol import Stream

from .callback import Callback


class DeviceError(Exception):
    """The device cannot be opened; the text says which and what to do."""


MISSING = "PortAudio is not installed (Debian, Ubuntu: apt install libportaudio2; Fedora: dnf install portaudio)"


def sounddevice():
    """The sounddevice module, or DeviceError where PortAudio is missing."""
    try:
        import sounddevice
    except OSError:
        raise DeviceError(MISSING) from None
    return sounddevice


class PortAudio:
    """Full duplex through a sound card, JACK or PipeWire."""

    name = "portaudio"
    STALLED_S = 2.0  # no callback for this long: the device is gone

    def __init__(self, stream: Stream, callback: Callback):
        sd = sounddevice()
        self._callback, self._stall = callback, (0, time.monotonic())
        outputs = max(stream.outputs)
        try:
            if stream.inputs:
                self._stream = sd.Stream(
                    samplerate=stream.rate,
                    blocksize=stream.block,
                    device=(_device(stream.input_device), _device(stream.output_device)),
                    channels=(max(stream.inputs), outputs),
                    dtype="float32",
                    latency="low",
                    callback=self._duplex,
                )
            else:
                self._stream = sd.OutputStream(
                    samplerate=stream.rate,
                    blocksize=stream.block,
                    device=_device(stream.output_device),
                    channels=outputs,
                    dtype="float32",
                    latency="low",
                    callback=self._output_only,
                )
            playing = sd.query_devices(_device(stream.output_device), "output")
        except (sd.PortAudioError, ValueError) as error:
            raise DeviceError(_said(stream, error)) from None
        self.device = str(playing["name"])

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> None:
        self._stream.close(ignore_errors=True)

    def problem(self) -> str | None:
        """Why the stream no longer runs; called a few times a second."""
        if not self._stream.active:
            return f"{self.device} stopped"
        blocks, now = int(self._callback.shared.blocks[0]), time.monotonic()
        if blocks != self._stall[0]:
            self._stall = (blocks, now)
        elif now - self._stall[1] > self.STALLED_S:
            return f"{self.device} does not ask for sound any more"
        return None

    def _duplex(self, inputs, outputs, frames, when, status):
        self._callback(inputs, outputs)

    def _output_only(self, outputs, frames, when, status):
        self._callback(None, outputs)


def _said(stream: Stream, error: Exception) -> str:
    names = stream.output_device or stream.input_device
    if not names and "device -1" in str(error):
        return "there is no sound device"
    return f"cannot open {names or 'the default device'}: {str(error).split(' [')[0]}"


def openable(stream: Stream) -> bool:
    """Whether the devices of a stream are there and take its rate; PortAudio lists them once in a process's life."""
    sd = sounddevice()
    try:
        sd.check_output_settings(_device(stream.output_device), max(stream.outputs), "float32", samplerate=stream.rate)
        if stream.inputs:
            sd.check_input_settings(_device(stream.input_device), max(stream.inputs), "float32", samplerate=stream.rate)
    except (sd.PortAudioError, ValueError):
        return False
    return True


def _device(name: str) -> int | str | None:
    return None if not name else int(name) if name.isdigit() else name


def realtime(priority: int, thread: int = 0) -> bool:
    """Ask for real-time priority for a thread (0: the calling one); False where the system does not grant it."""
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except (AttributeError, OSError):
        return False
    return True


CALLBACK_PRIORITY = 70


class Null:
    """A clock of our own and no sound: everything works, nothing is heard. Also the stand-in while a device is away."""

    name = "null"
    device = "no sound card"
    BEHIND = 8  # periods; further behind, the missed blocks are given up

    def __init__(self, stream: Stream, callback: Callback):
        self._stream, self._callback = stream, callback
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._play, name="null audio", daemon=True)

    def start(self) -> None:
        self._running.set()
        self._thread.start()

    def stop(self) -> None:
        self._running.clear()
        self._thread.join(timeout=2)

    def problem(self) -> str | None:
        return None

    def _play(self) -> None:
        realtime(CALLBACK_PRIORITY)
        stream, callback = self._stream, self._callback
        period = stream.block / stream.rate
        outputs = np.zeros((stream.block, max(stream.outputs)), np.float32)
        due = time.perf_counter()
        while self._running.is_set():
            callback(None, outputs, due)
            due += period
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            elif -wait > self.BEHIND * period:
                due = time.perf_counter()


class Files:
    """No clock: plays a `.npy` file `[N, channels]` through the rack as fast as it goes, into another. For proofs."""

    name = "files"

    def __init__(self, stream: Stream, callback: Callback):
        self._stream, self._callback = stream, callback
        self.device = stream.output_device
        try:
            self._input = np.load(stream.input_device).astype(np.float32)
        except (OSError, ValueError) as error:
            raise DeviceError(f"{stream.input_device}: not an input for the file backend ({error})") from None
        self._running = True
        self._thread = threading.Thread(target=self._play, name="file audio", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._running = False
        self._thread.join(timeout=5)

    def problem(self) -> str | None:
        return None

    def _play(self) -> None:
        stream, callback = self._stream, self._callback
        while self._running and callback.next_line is None and not callback.line.slots:
            time.sleep(0.001)
        block, played = stream.block, []
        padded = np.zeros((-(-len(self._input) // block) * block, self._input.shape[1]), np.float32)
        padded[: len(self._input)] = self._input
        for at in range(0, len(padded), block):
            if not self._running:
                return
            outputs = np.zeros((block, max(stream.outputs)), np.float32)
            callback(padded[at : at + block], outputs)
            played.append(outputs)
        np.save(stream.output_device, np.concatenate(played)[: len(self._input)])
        callback.events.append(("finished", -1, stream.output_device))


Backend = PortAudio | Null | Files
BACKENDS = {"portaudio": PortAudio, "null": Null, "files": Files}
