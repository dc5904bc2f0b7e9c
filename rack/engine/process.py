"""The engine process: `python -m rack.engine.process SOCKET_FD SHARED_FD`.

Two threads: the audio callback, and this control thread, which sleeps on a socket. Garbage collection is off: nothing
here makes cycles, and a collection would hold the callback up.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

import jax

from rack import protocol
from rack.cores import use_all
from rack.protocol import EngineReady, Mute, Quit, Record, Refused, Source, Stream, Streaming, Took, Trouble
from rack.protocol import Line as LineMessage
from rack.shared import Shared

from .audio import BACKENDS, CALLBACK_PRIORITY, Backend, DeviceError, realtime
from .callback import NO_LINE, Callback
from .program import Loader, Unfit

TICK_S, BUSY_TICK_S = 0.25, 0.004  # the latter while a line is on its way in
CONTROL_PRIORITY = 60  # below the callback's
M_ARENA_MAX = -8  # malloc.h


class Engine:
    """The control thread: opens streams, loads lines, tells the server what happened."""

    def __init__(self, connection: socket.socket, shared: Shared):
        self.connection, self.shared = connection, shared
        self.reader = protocol.Reader(protocol.ToEngine)
        self.loader = Loader(shared.targets)
        self.backend: Backend | None = None  # there is a backend exactly where there is a callback
        self.callback: Callback | None = None
        self.tape, self.mute, self.recording = True, False, False
        self.abandoned: list[Backend] = []
        self.troubles: dict[str, float] = {}

    def run(self) -> None:
        """Until Quit, or until the server is gone."""
        self.send(EngineReady(os.getpid()))
        while True:
            changing = self.callback is not None and self.callback.changing
            ready, _, _ = select.select([self.connection], [], [], BUSY_TICK_S if changing else TICK_S)
            if ready:
                message = self.reader.receive(self.connection)
                if isinstance(message, Quit):
                    return self.close()
                self.handle(message)
            self.tick()

    def send(self, message) -> None:
        self.connection.sendall(protocol.frame(message))

    def handle(self, message) -> None:
        callback = self.callback
        match message:
            case Stream():
                self.open(message)
            case LineMessage():
                self.load(message)
            case Source(tape):
                self.tape = tape
                if callback:
                    callback.tape = tape
            case Record(on):
                self.recording = on
                if callback:
                    callback.recording = on
            case Mute(on):
                self.mute = on
                if callback:
                    callback.mute = on

    # --- streams ----------------------------------------------------------------------------------------------------

    def open(self, stream: Stream) -> None:
        """Start the stream that was asked for, or the null output, and say which."""
        self.close()
        order = ("portaudio", "null") if stream.backend in ("auto", "portaudio") else (stream.backend,)
        message = ""
        for name in order:
            callback = Callback(self.shared, stream, self.tape, self.mute)
            callback.recording = self.recording
            try:
                backend = BACKENDS[name](stream, callback)
                backend.start()
            except Exception as error:  # PortAudio's own errors come in many kinds: none may end the engine
                text = str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
                message = f"{text}; the clocked null output plays instead"
                continue
            self.backend, self.callback = backend, callback
            break
        if self.backend is None:
            self.send(Trouble("device", message))
            return
        gc.collect()
        gc.freeze()
        self.send(Streaming(self.backend.name, self.backend.device, stream.rate, stream.block, message))

    def play_on(self, dead: Backend, old: Callback, problem: str) -> None:
        """The device is gone: move the running line, state and all, to the null output.

        The dead stream is left as it is, since closing one whose JACK server has died waits for ever. For the same
        reason the device is taken up again by a fresh engine, which the server starts when a probe finds it.
        """
        stream = old.stream
        callback = Callback(self.shared, stream, self.tape, self.mute)
        callback.recording = self.recording
        callback.line, callback.next_line = old.line, old.next_line
        old.line, old.next_line = NO_LINE, None  # should the device wake up, it must not touch these states
        self.abandoned.append(dead)
        backend = BACKENDS["null"](stream, callback)
        self.backend, self.callback = backend, callback
        backend.start()
        message = f"{problem}; the clocked null output plays until it is back"
        self.send(Streaming("null", backend.device, stream.rate, stream.block, message))

    def close(self) -> None:
        """Fade out and stop the stream."""
        backend, callback = self.backend, self.callback
        if backend is None or callback is None:
            return
        if backend.name != "files":
            callback.mute = True
            until = time.monotonic() + 0.2
            while not callback.silent and time.monotonic() < until:
                time.sleep(0.005)
        backend.stop()
        self.backend = self.callback = None

    # --- lines ------------------------------------------------------------------------------------------------------

    def load(self, message: LineMessage) -> None:
        """Load and warm a line, then hand it to the callback."""
        callback = self.callback
        if callback is None:
            self.send(Refused(message.number, "no stream is open"))
            return
        stream = callback.stream
        playing = callback.next_line or callback.line
        try:
            line = self.loader.line(message, playing, block=stream.block, channels=stream.channels)
        except Unfit as error:
            self.send(Refused(message.number, str(error)))
            return
        needed = {slot.program for slot in (*line.slots, *playing.slots)} | {message.fused}
        self.loader.keep_only(needed)
        gc.collect()
        gc.freeze()
        callback.next_line = line

    # --- a few times a second ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Pass on what the callback has to tell; look after the device."""
        backend, callback = self.backend, self.callback
        if backend is None or callback is None:
            return
        while callback.events:
            kind, number, text = callback.events.popleft()
            if kind == "took":
                self.send(Took(number, text))
            else:
                self.trouble(kind, text, number)
        if problem := backend.problem():
            self.play_on(backend, callback, problem)

    def trouble(self, kind: str, text: str, row: int) -> None:
        """Tell the server, but of each kind at most once a second: a fault in every block is one fault."""
        now, key = time.monotonic(), f"{kind}{row}"
        if now - self.troubles.get(key, -1.0) >= 1.0:
            self.troubles[key] = now
            self.send(Trouble(kind, text, row))


def one_heap() -> None:
    """Keep all allocations in one heap (glibc): otherwise every thread starts its own, megabytes at a time."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def hurry_helpers() -> None:
    """Give XLA's own threads the callback's priority: for some programs it waits for them."""
    with suppress(OSError):  # no such folder but on Linux
        for thread in os.listdir("/proc/self/task"):
            if int(thread) != threading.get_native_id():
                realtime(CALLBACK_PRIORITY, int(thread))


def main() -> None:
    use_all()
    one_heap()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when the sound ends
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    os.environ["NPROC"] = "1"  # XLA's worker threads: no more than it insists on
    jax.devices()
    hurry_helpers()
    gc.disable()
    sys.setswitchinterval(0.0001)  # so long the callback waits for us, should we be in its way
    realtime(CONTROL_PRIORITY)  # or the callback would wait for us, put aside with the GIL in hand
    engine = Engine(socket.socket(fileno=int(sys.argv[1])), Shared(int(sys.argv[2])))
    try:
        engine.run()
    except (EOFError, ConnectionError, BrokenPipeError):
        engine.close()
    if engine.abandoned:
        os._exit(0)  # PortAudio's clean-up would wait for the dead device


if __name__ == "__main__":
    main()
