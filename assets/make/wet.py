"""The recordings that the models of `assets/models` learn from: our own loops through effects of our own.

    python assets/make/wet.py FOLDER

writes, at 48 kHz, mono: dry.wav (the guitar, overdriven and clean, the bass, strings plucked at random); guitar.wav
(the loop alone) and the same through a delay, a reverb and an amplifier; and band.wav (guitar, bass and strings, the
last quarter of each at the end) and the same through a compressor, which has to hear more than one level of playing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import soundfile

from jaxmodels import apply
from jaxmodels.assets import assets_folder
from jaxmodels.boxes import make
from jaxmodels.effect import positions
from trainer.reference import drive
from trainer.signals import PLUCKS_S, capture_signal

RATE = 48000
CAPTURE_S = 24.0
THRESHOLD_DB, RATIO, MAKE_UP_DB = -30.0, 4.0, 8.0  # of the compressor
ATTACK_S, RELEASE_S = 0.01, 0.1


def box(kind: str, x: np.ndarray, settings: dict | None = None, **knobs: float) -> np.ndarray:
    """A signal through one of our boxes."""
    made = make(kind, settings or {}, sample_rate=RATE)
    return np.asarray(apply(made, jnp.asarray(x, jnp.float32), positions(made, knobs)))


def compressor(x: np.ndarray) -> np.ndarray:
    """A hard knee; the level is that of the rectified signal, quick to rise and slow to fall."""
    rise, fall = (1 - np.exp(-1 / (seconds * RATE)) for seconds in (ATTACK_S, RELEASE_S))
    level, levels = 0.0, np.empty(len(x))
    for n, size in enumerate(np.abs(x).tolist()):
        level += (rise if size > level else fall) * (size - level)
        levels[n] = level
    over_db = np.maximum(20 * np.log10(levels + 1e-6) - THRESHOLD_DB, 0)
    return x * 10 ** ((MAKE_UP_DB - over_db * (1 - 1 / RATIO)) / 20)


def delay(x: np.ndarray) -> np.ndarray:
    """Echoes every quarter of a second."""
    return box("delay", x, time=250.0, feedback=0.4, tone=4000.0, mix=0.4)


def reverb(x: np.ndarray) -> np.ndarray:
    """A hall of one second and a half."""
    return box("reverb", x, size=0.6, decay=1.5, damping=0.5, mix=0.4)


def amplifier(x: np.ndarray) -> np.ndarray:
    """A hot stage into a dark cabinet."""
    cabinet = {"ir": str(assets_folder() / "irs" / "4x12-dark.wav")}
    return box("cab", drive(x, RATE, 0.7), cabinet, level=-5.0)


EFFECTS = {"delay": delay, "reverb": reverb, "amp": amplifier}


def band(parts: list[np.ndarray]) -> np.ndarray:
    """One after another, the first three quarters of each, then the last quarter of each."""
    cuts = [round(0.75 * len(part)) for part in parts]
    return np.concatenate([*(part[:at] for part, at in zip(parts, cuts, strict=True)),
                           *(part[at:] for part, at in zip(parts, cuts, strict=True))])  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    audio = assets_folder() / "audio"
    loops = [soundfile.read(audio / f"{name}.wav", dtype="float32")[0] for name in ("guitar", "bass")]
    bright = drive(loops[0], RATE, 0.7)
    plucks = capture_signal(RATE, CAPTURE_S)[round(PLUCKS_S * RATE) :]
    made = {"dry": np.concatenate([0.5 / np.abs(bright).max() * bright, *loops, plucks]), "guitar": loops[0]}
    made["band"] = band([*loops, plucks])
    made["compressor"] = compressor(made["band"])
    made |= {name: effect(loops[0]) for name, effect in EFFECTS.items()}
    for name, signal in made.items():
        soundfile.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")


if __name__ == "__main__":
    main()
