"""`nafx-rack capture`: play a signal through a device, record what comes back, and say whether it can be learned from.

Writes dry.wav and wet.wav, aligned, and returned.wav as it came. The trainer makes the signal and looks at the return,
in a process of its own; here it is only played and recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from .errors import RackError

BLOCK = 1024  # samples asked for; a capture needs no low latency
TAIL_S = 1.5  # recorded after the signal's end: the loop's latency and the device's ringing
STALLED_S = 5.0  # without a callback: the device is gone
LOUD_DB, FAINT_DB = -0.1, -50.0


def main(args: argparse.Namespace) -> int:
    """The whole command; 1 where the recording cannot be learned from."""
    folder = Path(args.folder)
    dry, wet, returned = (folder / f"{name}.wav" for name in ("dry", "wet", "returned"))
    if any(path.exists() for path in (dry, wet)) and not args.force:
        raise RackError(f"{folder}: holds a capture already; choose another folder, or --force")
    if args.signal and os.path.realpath(args.signal) == os.path.realpath(dry):
        raise RackError(f"{args.signal}: would be written over; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RackError(f"{folder}: cannot be made: {error.strerror}") from None
    rate = _write_signal(args, dry)
    x, _ = soundfile.read(dry, dtype="float32")
    heard, lost = play(x, rate, args.device, args.output, args.input, None if args.json else _progress)
    soundfile.write(returned, heard, rate, subtype="FLOAT")
    records = list(_ask(str(dry), "--returned", str(returned), "--wet", str(wet), *_options(args)))
    if lost:
        records.append(
            _finding(
                "lost blocks",
                "warning",
                f"the machine was too slow {lost} times",
                "samples may be missing",
                "close other programs, or choose larger blocks in the sound server",
            )
        )
    records += _level(records[0]["peak_db"])
    bad = [record for record in records if record.get("severity") == "bad"]
    for record in records:
        print(json.dumps(record) if args.json else _line(record))
    if not args.json:
        print(
            f"{folder}: " + (f"{len(bad)} things to put right" if bad else "dry.wav and wet.wav are ready to train on")
        )
    return int(bool(bad))


def _options(args: argparse.Namespace) -> list[str]:
    delay = [] if args.delay is None else ["--delay", str(args.delay)]
    return [*delay, *(["--own"] if args.signal else [])]


def _write_signal(args: argparse.Namespace, dry: Path) -> int:
    """The signal as dry.wav: ours, or the user's own file; its rate."""
    if not args.signal:
        list(_ask(str(dry), "--rate", str(args.rate or 48000), "--seconds", str(args.seconds)))
        x, rate = soundfile.read(dry, dtype="float32")
    else:
        try:
            x, rate = soundfile.read(args.signal, dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise RackError(f"{args.signal}: cannot be read as sound: {error}") from None
        x = x[:, 0]
        if args.rate and args.rate != rate:
            raise RackError(f"{args.signal}: is at {rate} Hz, not {args.rate}; leave --rate away or convert it")
        if len(x) < rate or not np.isfinite(x).all() or np.abs(x).max() < 1e-4:
            raise RackError(f"{args.signal}: must be at least a second of sound")
    soundfile.write(dry, x * (10 ** (args.level / 20) / np.abs(x).max()), rate, subtype="FLOAT")
    return rate


def _ask(*arguments: str):
    """Run the trainer's look at signals; its answers."""
    done = subprocess.run([sys.executable, "-m", "trainer.signals", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RackError((done.stderr.strip().splitlines() or ["the trainer ended without a word"])[-1])
    yield from map(json.loads, done.stdout.splitlines())


def play(x: np.ndarray, rate: int, device: str, output: int, input: int, progress=None) -> tuple[np.ndarray, int]:
    """Play `[N]` on one output channel, counted from 1, and record one input channel from the same sample on.

    Answers with the recording `[N + tail]` and how often blocks were lost. Raises RackError.
    """
    try:
        import sounddevice as sd
    except OSError:
        raise RackError("PortAudio is missing; nafx-rack doctor says how to install it") from None
    out = np.concatenate([x, np.zeros(round(TAIL_S * rate), np.float32)])
    heard, at, lost, called = np.zeros_like(out), 0, 0, time.monotonic()

    def callback(inputs, outputs, frames, when, status):
        nonlocal at, lost, called
        called = time.monotonic()
        count = min(frames, len(out) - at)
        outputs[:] = 0
        outputs[:count, output - 1] = out[at : at + count]
        heard[at : at + count] = inputs[:count, input - 1]
        lost += bool(status.input_overflow or status.output_underflow) and at > 0
        at += count
        if at == len(out):
            raise sd.CallbackStop

    chosen = int(device) if device.isdigit() else device or None
    try:
        stream = sd.Stream(
            samplerate=rate,
            blocksize=BLOCK,
            device=chosen,
            channels=(input, output),
            dtype="float32",
            latency="high",
            callback=callback,
        )
    except (sd.PortAudioError, ValueError) as error:
        raise RackError(
            f"cannot open {device or 'the default device'}: {str(error).split(' [')[0]}; nafx-rack devices lists them, "
            "--output and --input choose channels"
        ) from None
    with stream:
        while stream.active:
            time.sleep(0.05)
            if progress:
                progress(at / rate, len(out) / rate, float(np.abs(heard[max(0, at - rate // 4) : at + 1]).max()))
            if time.monotonic() - called > STALLED_S:
                raise RackError(f"{device or 'the device'} does not ask for sound any more")
    if at < len(out):
        raise RackError(f"{device or 'the device'} stopped after {at / rate:.1f} s")
    return heard, lost


def _progress(now: float, whole: float, peak: float) -> None:
    if sys.stderr.isatty():
        end = "\n" if now >= whole else ""
        print(f"\r{now:6.1f} of {whole:.1f} s   return {_db(peak):6.1f} dBFS ", end=end, file=sys.stderr, flush=True)


def _db(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude, 1e-10)))


def _level(peak_db: float) -> list[dict]:
    """What the level of the return asks for."""
    if peak_db >= LOUD_DB:
        text = f"the return peaks at {peak_db:.1f} dBFS"
        return [_finding("level", "bad", text, "the input is overdriven", "turn the device or the input gain down")]
    if FAINT_DB > peak_db > -90:
        text = f"the return peaks at only {peak_db:.1f} dBFS"
        return [_finding("level", "warning", text, "noise is near", "turn the device or the input gain up")]
    return []


def _finding(kind: str, severity: str, message: str, reason: str, remedy: str) -> dict:
    return {
        "event": "check",
        "kind": kind,
        "severity": severity,
        "message": message,
        "reason": reason,
        "remedy": remedy,
    }


def _line(record: dict) -> str:
    if record["event"] == "loop":
        found = "not found" if record["latency"] is None else f"{record['latency']} samples, {record['latency_ms']} ms"
        noise = "" if record["noise_db"] is None else f", noise {record['noise_db']} dBFS"
        return f"loop latency {found}; return peak {record['peak_db']} dBFS{noise}"
    mark = {"bad": "BAD    ", "warning": "warning", "note": "note   "}[record["severity"]]
    said = f"{mark}  {record['kind']}: {record['message']}"
    return "".join([said, *(f"\n{'':9}{record[key]}" for key in ("reason", "remedy") if record[key])])
