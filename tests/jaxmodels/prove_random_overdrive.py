"""Is every random overdrive safe to turn on? Peak, DC and loudness on a real guitar, for many networks.

    python -m tests.jaxmodels.prove_random_overdrive [--seeds 100] [--guitar egtr.wav] [--set bias=true init=normal ...]

Every activation with every seed: once as the guitar comes at no drive, and once at one of nine combinations of input
level (0, -12, -24 dB) and drive (-24, 0, +24 dB). Prints the worst of each activation; ends with 1 if any is unsafe.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pyloudnorm
import soundfile

from jaxmodels.activations import ACTIVATIONS
from jaxmodels.boxes import make
from jaxmodels.effect import hold, positions

SECONDS = 3
PEAK, DC_DB, LOUDNESS_LU = 1.0, -60.0, 3.0  # limits
CASES = [(level_db, drive_db) for level_db, drive_db in product((0, -12, -24), (-24, 0, 24))]


class Heard(NamedTuple):
    peak: float
    dc_db: float
    loudness_lu: float  # output against input

    @property
    def safe(self) -> bool:
        return self.peak <= PEAK and self.dc_db <= DC_DB and abs(self.loudness_lu) <= LOUDNESS_LU


@jax.jit
def _whole(box, x, knobs):
    return box.step(box.initial_state(knobs), x, hold(knobs, len(x)))[0]


def guitar(path: Path) -> tuple[np.ndarray, int]:
    """The first seconds of a recording, mono, and its rate."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(x[: SECONDS * rate, 0]), rate


def listen(settings: dict, x: np.ndarray, rate: int, level_db: float = 0, drive_db: float = 0) -> Heard:
    """What a network makes of a signal."""
    box = make("random_overdrive", settings, sample_rate=rate)
    x = x * np.float32(10 ** (level_db / 20))
    y = np.asarray(_whole(box, x[:, None], positions(box, {"drive": drive_db})))[:, 0]
    meter = pyloudnorm.Meter(rate)
    dc_db = 20 * np.log10(abs(y.astype(float).mean()) + 1e-12)
    return Heard(float(np.abs(y).max()), dc_db, meter.integrated_loudness(y) - meter.integrated_loudness(x))


def worst(settings: dict, seeds, x: np.ndarray, rate: int) -> tuple[Heard, list[str]]:
    """The worst of each measure over these seeds, and a line about every network that breaks a limit."""
    heard, broken = [], []
    for seed in seeds:
        for level_db, drive_db in {(0, 0), CASES[seed % len(CASES)]}:
            one = listen({**settings, "seed": seed}, x, rate, level_db, drive_db)
            heard.append(one)
            if not one.safe:
                broken.append(f"seed {seed}, input {level_db} dB, drive {drive_db} dB: {one}")
    peak, dc, loudness = zip(*heard, strict=True)
    return Heard(max(peak), max(dc), max(loudness, key=abs)), broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--guitar", type=Path, help="a recording; default: egtr.wav of the reference files")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    parser.add_argument("--only", nargs="*", default=list(ACTIVATIONS), metavar="ACTIVATION")
    options = parser.parse_args()
    if options.guitar is None:
        from tests.conftest import FIXTURES

        options.guitar = FIXTURES / "audio" / "dry" / "egtr.wav"
    settings = {}
    for pair in options.set:
        name, value = pair.split("=")
        settings[name] = value if name == "init" else json.loads(value)
    x, rate = guitar(options.guitar)
    failures = 0
    print(f"{'activation':12} {'peak':>6} {'DC dBFS':>8} {'LU':>6}")
    for activation in options.only:
        most, broken = worst({**settings, "activation": activation}, range(options.seeds), x, rate)
        print(f"{activation:12} {most.peak:6.3f} {most.dc_db:8.1f} {most.loudness_lu:+6.2f}", flush=True)
        for line in broken:
            print(f"    {line}", flush=True)
        failures += len(broken)
    print(f"{failures} of {2 * options.seeds * len(options.only)} broke a limit")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
