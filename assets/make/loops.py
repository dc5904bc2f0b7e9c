"""Renders the dry loops of `assets/audio`, to hear a rack with: a guitar and a bass, straight from the pickup.

    python assets/make/loops.py [folder]

120 beats a minute, E minor; the loops close upon themselves. The guitar's four bars go through what shows a drive:
palm-muted power chords, open chords hard and soft, a lick with a bend and vibrato, and soft broken chords.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from strings import BASS, GUITAR, RATE, Note, render

BEAT = 0.5  # seconds


def strum(beat: float, pitches: str, beats: float, force: float = 0.8, up: bool = False, spread_s: float = 0.011):
    """A chord, string after string; an upstroke begins with the high ones."""
    names = pitches.split()[:: -1 if up else 1]
    return [
        Note(beat * BEAT + i * spread_s, name, beats * BEAT - i * spread_s, force * (1 - 0.04 * i))
        for i, name in enumerate(names)
    ]


def chug(beat: float, pitches: str, force: float = 0.9):
    """A palm-muted power chord, an eighth long."""
    names = pitches.split()
    return [Note(beat * BEAT + i * 0.003, name, 0.45 * BEAT, force, muted=True) for i, name in enumerate(names)]


def guitar() -> list[Note]:
    """Four bars."""
    e5, g5, a5 = "E2 B2 E3", "G2 D3 G3", "A2 E3 A3"
    notes = strum(0, e5, 0.95, 1.0, spread_s=0.004)
    for beat, force in ((1, 0.85), (1.5, 0.75), (2, 0.95), (2.5, 0.75)):
        notes += chug(beat, "E2 B2", force)
    notes += strum(3, g5, 0.48, 0.95, spread_s=0.004) + strum(3.5, a5, 0.48, 1.0, spread_s=0.004)

    notes += strum(4, "C3 E3 G3 D4 E4", 1.45, 0.9) + strum(5.5, "G3 D4 E4", 0.45, 0.55, up=True)
    notes += strum(6, "D3 A3 D4 F#4", 0.95, 0.85) + strum(7, "D3 A3 D4 F#4", 0.45, 0.5)
    notes += strum(7.5, "A3 D4 G4", 0.48, 0.6, up=True)

    lick = ((8, "B3", 0.5, 0.8), (8.5, "D4", 0.5, 0.7), (10.5, "G4", 0.5, 0.8), (11, "E4", 0.5, 0.75))
    for beat, pitch, beats, force in (*lick, (11.5, "D4", 0.25, 0.7), (11.75, "B3", 0.25, 0.65)):
        notes.append(Note(beat * BEAT, pitch, beats * BEAT * 0.97, force))
    notes.append(Note(9 * BEAT, "E4", 1.45 * BEAT, 0.95, bend=2.0, vibrato=0.3))

    for i, pitch in enumerate("A2 E3 G3 C4 E4 C4".split()):
        notes.append(Note((12 + i / 2) * BEAT, pitch, (3 - i / 2) * BEAT, 0.32 + 0.03 * i))
    notes += strum(15, "B2 F#3 A3 D#4", 0.97, 0.6)
    return notes


def bass() -> list[Note]:
    """Two bars."""
    line = (
        (0, "E1", 0.9, 0.9), (1, "E1", 0.4, 0.7), (1.5, "E2", 0.4, 0.8), (2, "D2", 0.4, 0.7), (2.5, "B1", 0.9, 0.8),
        (3.5, "A1", 0.45, 0.7), (4, "G1", 0.9, 0.9), (5, "G1", 0.4, 0.6), (5.5, "A1", 0.9, 0.8), (6.5, "B1", 0.4, 0.7),
        (7, "D2", 0.4, 0.75), (7.5, "B1", 0.45, 0.7),
    )  # fmt: skip
    return [Note(beat * BEAT, pitch, beats * BEAT, force) for beat, pitch, beats, force in line]


def loops() -> dict[str, np.ndarray]:
    """Every loop by its name, [T]."""
    return {
        "guitar": render(guitar(), GUITAR, 16 * round(BEAT * RATE), seed=1),
        "bass": render(bass(), BASS, 8 * round(BEAT * RATE), seed=2),
    }


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "audio")
    folder.mkdir(parents=True, exist_ok=True)
    for name, loop in loops().items():
        soundfile.write(folder / f"{name}.wav", loop, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
