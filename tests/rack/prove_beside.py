"""What a player notices of a steering job: `make beside`, ten minutes on a machine that does nothing else.

    python -m tests.rack.prove_beside --blocks 256 --seconds 20 --keys 30

On JACK's dummy driver, the shipped `superknob` rack, a terminal of 80 by 24 attached: late blocks, and how long a key
takes until the terminal is sent what it changed; without a job, then with one that learns a compressor. One line of
JSON each. Real recordings are needed, see NAFX_FIXTURES.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from rack import cli, connect, soak
from rack.terminal import Terminal
from tests.conftest import FIXTURES
from tests.rack.jack import Jack

RUN = """
out = "learned.nafx"
recipe = "steer"
[data]
dry = "{folder}/cl1b_heavy_dry.wav"
wet = "{folder}/cl1b_heavy_wet.wav"
delay = 0
validation = 0.25
force = true
[schedule]
seconds = 3600.0
"""
UP, DOWN = b"\x1b[A", b"\x1b[B"
KEY = "drive.amount"
PAUSE_S, LIMIT_S = 0.3, 5.0  # between two keys; until one is given up
HEARD, HEARD_S = 4, 120.0  # so many checkpoints are listened to, or so long; the first one is compiled


def main() -> int:
    parser = argparse.ArgumentParser(description="Late blocks and keys beside a steering job.")
    parser.add_argument("--blocks", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each soak (60)")
    parser.add_argument("--keys", type=int, default=100, help="pressed beside each (100)")
    args = parser.parse_args()
    home = Path(tempfile.mkdtemp())
    os.environ |= {"NAFX_RACK_HOME": str(home), "JACK_DEFAULT_SERVER": f"nafx-beside-{os.getpid()}"}
    run = home / "run.toml"
    run.write_text(RUN.format(folder=FIXTURES / "audio" / "dev"))
    try:
        for block in args.blocks:
            measured(args, block, run)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def measured(args: argparse.Namespace, block: int, run: Path) -> None:
    """Everything at one size of block; printed."""
    jack = Jack(period=block, realtime=True)
    try:
        with connect.start() as server:
            told(server, args, block, "no job")
            id, heard = heard_s(server, run)
            print(json.dumps({"block": block, "checkpoint_heard_s": heard}), flush=True)
            told(server, args, block, "steering", id)
            server.set("jobs.remove", id)
    finally:
        connect.stop()
        jack.stop()


def heard_s(server: connect.Connection, run: Path) -> tuple[str, list[float]]:
    """A job, and how long after they were written its checkpoints were heard, in a slot that goes again."""
    before = server.get("slots")
    server.set("slots.add", "gain")
    slot = next(slot for slot in server.get("slots") if slot not in before)
    id = server.set("jobs.start", {"run": str(run), "slot": slot})
    found: dict[str, float] = {}
    end = time.monotonic() + HEARD_S
    while time.monotonic() < end and len(found) < HEARD:
        now = server.get(slot)
        if now["status"] == "ready" and now.get("model") and now["model"] not in found:
            found[now["model"]] = round(time.time() - os.path.getmtime(now["model"]), 2)
        time.sleep(0.02)
    if not found:
        job, log = server.get(f"jobs.{id}"), server.get(f"jobs.{id}.log")
        raise SystemExit(f"no checkpoint was heard in {HEARD_S:g} s: {job['state']} {job['note']}\n{log}")
    server.set("jobs.listen", {"id": id, "slot": ""})
    server.set("slots.remove", slot)
    return id, list(found.values())


def told(server: connect.Connection, args: argparse.Namespace, block: int, beside: str, job: str = "") -> None:
    """One soak, then the keys; printed."""
    command = ["soak", "--rack", "superknob", "--backend", "portaudio", "--block", str(block), "--ui"]
    asked = cli.parser().parse_args([*command, "--seconds", str(args.seconds)])
    steps = server.get(f"jobs.{job}")["last"]["step"] if job else 0
    start = time.monotonic()
    report = soak.measure(server, asked)
    row = {"beside": beside, "block": block, "late_percent": report["late_percent"], "blocks": report["blocks"]}
    row |= {"callback_us": report["callback_us"], "machine": report["machine"]}
    row |= {"errors": report["errors"], "nonfinite": report["nonfinite"]}
    if job:
        now = server.get(f"jobs.{job}")
        row["steps_per_s"] = round((now["last"]["step"] - steps) / (time.monotonic() - start), 2)
        row |= {"state": now["state"], "note": now["note"]}
    row["key_ms"] = keys_ms(server, args.keys)
    print(json.dumps(row), flush=True)


def keys_ms(server: connect.Connection, count: int) -> dict[str, float]:
    """From a key to the bytes that show the knob where it has put it, in ms: median, 90th percentile, maximum."""
    written, shown, change = "", "", threading.Condition()
    line = re.compile(KEY.replace(".", "  ") + r" = (-?[\d.]+)")

    def watch(piece: bytes) -> None:
        nonlocal written
        with change:
            written += piece.decode(errors="replace")
            change.notify_all()

    def value() -> str:
        found = line.findall(re.sub(r"\x1b\[[0-9;:?]*[a-zA-Z]", "", written))
        return found[-1] if found else ""

    def press(keys: bytes) -> float:
        """Until the line at the bottom is written with another value of the knob."""
        nonlocal shown, written
        start, written = time.monotonic(), ""
        terminal.press(keys)
        with change:
            if not change.wait_for(lambda: value() not in ("", shown), LIMIT_S):
                raise SystemExit(f"{keys!r} was not answered within {LIMIT_S:g} s; the last value was {shown!r}")
        shown = value()
        return 1000 * (time.monotonic() - start)

    terminal = Terminal([sys.executable, "-m", "rack.cli"], columns=80, rows=24, watch=watch)
    took = []
    try:
        time.sleep(5.0)
        press(UP)  # the first knob is in focus
        for n in range(count):
            time.sleep(PAUSE_S)
            took.append(press(DOWN if n % 2 else UP))
    finally:
        terminal.close()
    took.sort()
    worst = took[int(0.9 * len(took))]
    return {"median": round(statistics.median(took), 1), "p90": round(worst, 1), "max": round(took[-1], 1)}


if __name__ == "__main__":
    sys.exit(main())
