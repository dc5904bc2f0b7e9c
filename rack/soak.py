"""`nafx-rack soak`: play a rack for a while on a real stream, and report how late, how large, how clean it was."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from . import connect
from .connect import Connection
from .errors import RackError

SETTLE_S = 5.0  # memory is compared from here on
CONTROL_S = 20.0
EDITED, EDIT_S = "gain", 0.05  # the box that comes and goes, and the pause after each edit
SWITCH_S, HEARD_S = 0.5, 60.0  # from one capture to the next: a hand's pace; until one must be heard, compiled or not
READY_S = 180.0  # a rack whose programs are not in the cache yet takes its time

KEPT = ("rack", "source", "audio.backend", "audio.rate", "audio.block", "audio.output_device", "audio.input_device")


def main(args: argparse.Namespace) -> int:
    """Measure and print; a server that was running gets its rack and its stream back afterwards."""
    try:
        Connection().close()
        ran_before = True
    except connect.NoServer:
        ran_before = False
    with connect.start() as server:
        before = {key: server.get(key) for key in KEPT}
        try:
            report = measure(server, args)
        finally:
            if ran_before:
                restore(server, before)
            else:
                server.set("stop", True)
    show(report, args.json)
    return 0 if not (report["errors"] or report["nonfinite"]) else 1


def measure(server: Connection, args: argparse.Namespace) -> dict[str, Any]:
    """One soak on the server's engine, and the control beside it."""
    wanted = {
        "audio.backend": args.backend,
        "audio.output_device": args.device,
        "audio.input_device": args.device,
        "audio.rate": args.rate,
        "audio.block": args.block,
        "rack": args.rack,
        "source": args.source,
    }
    for key, value in wanted.items():
        if value not in (None, "") and server.get(key) != value:
            server.set(key, value)
    audio = wait_until_ready(server)
    if args.backend == "portaudio" and audio["backend"] != "portaudio":
        raise RackError(f"soak: {audio['message']}")
    interface, watcher = start_interface() if args.ui else None, start_watcher()
    try:
        first = server.get("engine")
        end = time.monotonic() + args.seconds
        time.sleep(min(SETTLE_S, args.seconds / 2))
        edit(server, args.edits // 10)  # the first ones fetch what the later ones find
        settled = server.get("engine")
        edit(server, args.edits)
        switched = switch(server, args.switches)
        time.sleep(max(0.0, end - time.monotonic()))
        last = server.get("engine")
        times = np.frombuffer(server.get("engine.times"), np.float32)
    finally:
        stalls = json.loads(watcher.communicate()[0])
        if interface:
            interface.close()
    if last["pid"] != first["pid"] or last["blocks"] < first["blocks"]:
        raise RackError("soak: the stream was opened anew while it was measured; nothing can be said of it")
    blocks, late = last["blocks"] - first["blocks"], last["late"] - first["late"]
    report = {
        "rack": server.get("rack"),
        "backend": audio["backend"],
        "device": audio["device"],
        "rate": audio["rate"],
        "block": audio["block"],
        "seconds": args.seconds,
        "fused": last["fused"],
        "blocks": blocks,
        "late_blocks": late,
        "late_percent": round(100 * late / max(blocks, 1), 4),
        "callback_us": distribution(times[-blocks:]),
        "edits": args.edits,
        "switch_ms": distribution(np.array(switched)),
        "deadline_us": round(1e6 * audio["block"] / audio["rate"], 1),
        **{name: last[name] - first[name] for name in ("errors", "nonfinite", "starved")},
        "memory_kib": {
            "start": first["memory_kib"],
            "settled": settled["memory_kib"],
            "end": last["memory_kib"],
            "growth": last["memory_kib"] - settled["memory_kib"],
        },
    }
    stalled_s = sum(stalls)
    report["machine"] = {  # what stood still here, whatever we do: see rack.stalls
        "stalls": len(stalls),
        "stalled_ms": round(1000 * stalled_s, 1),
        "blocks": round(stalled_s * audio["rate"] / audio["block"]),
    }
    if interface:
        report["terminal_bytes_per_s"] = round(interface.bytes / args.seconds)
    if args.control:
        report["control"] = control(audio, min(args.seconds, CONTROL_S), args.device or "")
    return report


def edit(server: Connection, edits: int) -> None:
    """Change the row so many times while it plays: a box is added, moved to the end, and removed again."""

    def slots() -> list[str]:
        return [slot["id"] for slot in server.get("status")["slots"]]

    before, added = slots(), ""
    for n in range(edits):
        if n % 3 == 0:
            server.set("slots.add", f"{EDITED} 0")
            added = next(slot for slot in slots() if slot not in before)
        elif n % 3 == 1:
            server.set("slots.move", [added, len(before)])
        else:
            server.set("slots.remove", added)
        time.sleep(EDIT_S)
    if edits % 3:
        server.set("slots.remove", added)


def switch(server: Connection, switches: int) -> list[float]:
    """Go to the next capture so many times; how long each took from the order to the block that plays it, in ms.

    The first half goes on through the folder, the second back. Raises RackError where the rack has no capture.
    """
    if not switches:
        return []
    captures = [slot["id"] for slot in server.get("status")["slots"] if slot["type"] == "model"]
    if not captures:
        raise RackError(f"soak: --switches {switches}: the rack {server.get('rack')} has no model to switch")
    took: list[float] = []
    for n in range(switches):
        time.sleep(SWITCH_S)
        before = server.get("engine")["switch_ms"]
        server.set(f"{captures[0]}.model.step", 1 if n < switches / 2 else -1)
        until = time.monotonic() + HEARD_S
        while (now := server.get("engine")["switch_ms"]) == before:
            if time.monotonic() > until:
                raise RackError(f"soak: the capture after {server.get(f'{captures[0]}.model')} was not heard")
            time.sleep(0.01)
        took.append(now)
    return took


def wait_until_ready(server: Connection) -> dict[str, Any]:
    """Wait for the rack to be built, fused and playing; answers what plays it. Raises RackError."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        status, engine = server.get("status"), server.get("engine")
        failed = [f"{slot['id']}: {slot['error']}" for slot in status["slots"] if slot["status"] == "failed"]
        if failed:
            raise RackError(f"soak: {'; '.join(failed)}")
        wanted = (server.get("audio.rate"), server.get("audio.block"))
        audio = status["audio"]
        if engine["fused"] and engine["blocks"] and (audio["rate"], audio["block"]) == wanted:
            return audio
        time.sleep(0.2)
    raise RackError(f"soak: the rack was not ready after {READY_S:g} s")


def restore(server: Connection, before: dict[str, Any]) -> None:
    """Put back what was changed for the measurement."""
    for key, value in before.items():
        if server.get(key) != value:
            server.set(key, value)


def distribution(times: np.ndarray) -> dict[str, float]:
    """Median, tails and maximum of times."""
    if not len(times):
        return {}
    points = {"median": 50, "p99": 99, "p99.9": 99.9, "max": 100}
    return {name: round(float(np.percentile(times, at)), 1) for name, at in points.items()}


def control(audio: dict[str, Any], seconds: float, device: str) -> dict[str, Any]:
    """The same stream doing nothing: what this machine is late by itself."""
    from .engine.audio import BACKENDS
    from .engine.callback import Callback
    from .protocol import Stream
    from .shared import Shared

    shared = Shared()
    stream = Stream(input_device=device, output_device=device, rate=audio["rate"], block=audio["block"])
    backend = BACKENDS[audio["backend"]](stream, Callback(shared, stream, tape=False, mute=False))
    backend.start()
    time.sleep(seconds)
    backend.stop()
    blocks, late = int(shared.blocks[0]), int(shared.late[0])
    times = distribution(shared.times_us[: min(blocks, len(shared.times_us))])
    percent = round(100 * late / max(blocks, 1), 4)
    return {"seconds": seconds, "blocks": blocks, "late_blocks": late, "late_percent": percent, "callback_us": times}


def start_watcher() -> subprocess.Popen:
    """The watcher for stalls of the machine; it tells what it saw when its standard input closes."""
    return subprocess.Popen([sys.executable, "-m", "rack.stalls"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def start_interface():
    """A real terminal interface, attached over a pseudo-terminal of 80 by 24, its meters moving."""
    from .terminal import Terminal

    return Terminal([sys.executable, "-m", "rack.cli"], columns=80, rows=24)


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print the report for a person or for a program."""
    if as_json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {part}" for key, part in value.items() if not isinstance(part, dict))
        print(f"{name:>22}  {value}")
