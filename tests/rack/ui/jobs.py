"""Jobs for tests and pictures: one that runs, one that waits, two that are over; with curves in closed form."""

from __future__ import annotations

import math

import msgspec

from rack.jobs import Checkpoint, Finding, Job, JobRecord, Pair, Spectrum, Waveform

from .fake import FakeServer


def history(count: int = 40, start: float = 1.2, end: float = 0.35, esr: float = 0.02) -> list[JobRecord]:
    """A run that learns: its loss falls like an exponential, the best is three records before the end."""
    records = []
    for i in range(1, count + 1):
        fall = math.exp(-4 * i / count)
        validation = end + (start - end) * fall + (0.02 if i > count - 3 else 0.0)
        best = min([validation, *(r.validation or 9 for r in records)])
        step = 50 * i
        best_step = step if best == validation else records[-1].best_step
        wobble = 0.04 * math.sin(2.1 * i)
        records.append(
            JobRecord(step, 2.0 * i, i / 60, validation * (0.9 + wobble), validation, esr + 0.9 * fall, best, best_step,
                      12.4, 2.0 * (60 - i), 1e-3)
        )  # fmt: skip
    return records


NOISE = Finding("noise", "warning", "The wet recording hums at 50 Hz, -52 dB.", "It is learned as if it were sound.",
                "Record again with the cable elsewhere.")  # fmt: skip
LATE = Finding("latency", "note", "The wet recording is 212 samples late.", "", "It is moved; nothing is to be done.")


def jobs() -> tuple[Job, ...]:
    """In the order of the queue."""
    last, checkpoints = history()[-1], tuple(Checkpoint(n, 250 * n, f"/jobs/a/{n}.nafx", 0.1 / n) for n in range(3, 8))
    return (
        Job("comp-1", "steer", "compressor", "fast", "running", 0, slot="plexi", last=last, esr=last.esr,
            model="/jobs/a/model.nafx", dry="/wav/dry.wav", wet="/wav/comp.wav", network="SteerableTCN, 21,408 weights",
            findings=(NOISE, LATE), checkpoints=checkpoints, playing=7),
        Job("twin-2", "capture", "twin reverb", "lstm", "queued", 1, note="waits for compressor"),
        Job("fuzz-3", "capture", "fuzz", "nam", "done", saved="/models/fuzz.nafx", esr=0.0071, last=last,
            checkpoints=checkpoints[-1:]),
        Job("hall-4", "steer", "hall", "reverb_paper", "failed", note="/wav/hall.wav: no such file; choose it again"),
    )  # fmt: skip


def pair() -> Pair:
    """Ten seconds: notes that ring, and the same compressed."""
    dry = [math.exp(-(i % 40) / 12) * (0.9 if i % 80 < 40 else 0.5) for i in range(400)]
    wet = [0.7 * math.sqrt(value) for value in dry]
    waves = [Waveform(tuple(-v for v in each), tuple(each)) for each in (dry, wet)]
    return Pair("/wav/dry.wav", "/wav/comp.wav", 48000, 83.0, 212, (NOISE, LATE), *waves)


def spectrum() -> Spectrum:
    """A guitar's slope, and a model that is too dark."""
    hz = [40 * 2 ** (i / 6) for i in range(54)]
    target = [-20 - 4 * abs(math.log2(f / 300)) for f in hz]
    model = [t - 3 * max(math.log2(f / 3000), 0) for f, t in zip(hz, target, strict=True)]
    return Spectrum(tuple(hz), tuple(target), tuple(model), 1750)


def teach(server: FakeServer) -> None:
    """Let the server answer about the first three of them."""
    for id, records in (("comp-1", history()), ("fuzz-3", history(60, 2.0, 0.2)), ("twin-2", [])):
        server.answers[f"jobs.{id}.history"] = msgspec.to_builtins(records)
        server.answers[f"jobs.{id}.pair"] = msgspec.to_builtins(pair())
        server.answers[f"jobs.{id}.spectrum"] = msgspec.to_builtins(spectrum())
