"""Renders the impulse responses of `assets/irs`: three modelled guitar cabinets, no recording involved.

    python assets/make/irs.py [folder]

A cabinet is a magnitude response made of the parts a loudspeaker has (box resonance, cone break-up, presence peak,
roll-off, the notches of a microphone off the axis), turned into its minimum-phase response; then come the things that
happen in time: slowly decaying cone and box modes, the reflections of the floor and, for the stereo one, of a room.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 48000
SIZE = 1 << 15  # of the FFTs


@dataclass(frozen=True)
class Cabinet:
    """The parts of a cabinet; frequencies in Hz, gains in dB."""

    box_hz: float  # resonance of speaker and box: below it the response falls by 12 dB an octave
    box_q: float
    roll_off_hz: float  # above it the response falls by `slope` times 6 dB an octave
    slope: int
    bells: tuple[tuple[float, float, float], ...]  # frequency, gain, Q
    modes: int  # cone modes, at random between 250 Hz and 1.3 times the roll-off
    mode_db: float  # their level
    bounces: tuple[tuple[float, float, float], ...]  # reflections: delay in ms, gain, their low-pass in Hz
    seed: int


DARK = Cabinet(
    box_hz=88, box_q=1.5, roll_off_hz=4300, slope=5,
    bells=((120, 2.5, 1.2), (410, -4.5, 1.1), (820, -1.5, 2.0), (1500, 2.0, 1.6), (2350, 6.5, 1.7),
           (3300, 2.5, 4.0), (3900, -3.0, 5.0), (5300, -9.0, 6.0), (7200, -8.0, 5.0)),
    modes=26, mode_db=-27, bounces=((0.62, -0.16, 3500), (2.1, 0.11, 2200), (4.7, -0.06, 1500)), seed=412,
)  # fmt: skip
BRIGHT = Cabinet(
    box_hz=104, box_q=1.1, roll_off_hz=6100, slope=4,
    bells=((190, -3.0, 1.5), (330, 2.0, 1.2), (620, -2.5, 1.5), (1250, 1.5, 1.2), (2900, 5.0, 1.3),
           (4100, 4.5, 3.0), (4800, -4.0, 6.0), (6700, -7.0, 6.0), (9100, -6.0, 5.0)),
    modes=30, mode_db=-29, bounces=((0.91, -0.22, 4500), (1.7, 0.12, 3000)), seed=112,
)  # fmt: skip
ROOM = Cabinet(
    box_hz=92, box_q=1.3, roll_off_hz=5000, slope=5,
    bells=((140, 2.0, 1.0), (380, -3.5, 1.2), (1100, 1.0, 1.5), (2600, 5.0, 1.5), (3700, 2.0, 4.0),
           (4400, -3.5, 6.0), (5900, -8.0, 6.0)),
    modes=28, mode_db=-27, bounces=((0.78, -0.18, 3500), (2.6, 0.12, 2200)), seed=212,
)  # fmt: skip


def magnitude(cab: Cabinet, frequency: np.ndarray) -> np.ndarray:
    """|H(f)| of the parts that have no delay."""
    f = np.maximum(frequency, 1.0)
    u = f / cab.box_hz
    high_pass = u**2 / np.sqrt((1 - u**2) ** 2 + (u / cab.box_q) ** 2)
    low_pass = 1 / np.sqrt(1 + (f / cab.roll_off_hz) ** (2 * cab.slope))
    bells = np.zeros_like(f)
    for at, gain_db, q in cab.bells:
        bells += gain_db / (1 + (q * (f / at - at / f)) ** 2)
    return high_pass * low_pass * 10 ** (bells / 20)


def minimum_phase(size: np.ndarray) -> np.ndarray:
    """The causal response with this magnitude (on the bins of an rfft of SIZE) whose energy comes first.

    By folding the real cepstrum (Oppenheim & Schafer, Discrete-Time Signal Processing, section 13.5).
    """
    cepstrum = np.fft.irfft(np.log(np.maximum(size, 1e-6)))
    cepstrum[1 : SIZE // 2] *= 2
    cepstrum[SIZE // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))


def one_pole(signal: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """First-order low-pass, by its spectrum."""
    frequency = np.fft.rfftfreq(SIZE, 1 / RATE)
    return np.fft.irfft(np.fft.rfft(signal, SIZE) / (1 + 1j * frequency / cutoff_hz))[: len(signal)]


def cabinet(cab: Cabinet, length: int, seed: int = 0) -> np.ndarray:
    """The response of a cabinet, `length` samples, peak 1. Another seed is another place of the microphone."""
    rng = np.random.default_rng([cab.seed, seed])
    size = magnitude(cab, np.fft.rfftfreq(SIZE, 1 / RATE))
    direct = minimum_phase(size)[:length]
    time = np.arange(length) / RATE
    modes = np.zeros(length)
    for at in np.geomspace(250, 1.3 * cab.roll_off_hz, cab.modes) * rng.uniform(0.94, 1.06, cab.modes):
        decay_s = rng.uniform(0.6, 1.4) * 0.012 * (250 / at) ** 0.55
        modes += rng.choice([-1, 1]) * np.sin(2 * np.pi * at * time) * np.exp(-time / decay_s) * np.sqrt(at / 1000)
    # The modes are heard through the same cone, box and microphone.
    modes = np.fft.irfft(np.fft.rfft(modes, SIZE) * np.fft.rfft(direct, SIZE))[:length]
    body = direct / np.abs(direct).max() + 10 ** (cab.mode_db / 20) * modes / np.abs(modes).max() * 4
    answer = body.copy()
    for delay_ms, gain, cutoff_hz in cab.bounces:
        lag = round(delay_ms * (1 + 0.1 * seed) * RATE / 1000)
        answer[lag:] += gain * one_pole(body, cutoff_hz)[: length - lag]
    return answer / np.abs(answer).max()


def room(dry: np.ndarray, length: int, seed: int) -> np.ndarray:
    """The response in a small damped room: a few wall reflections, then noise that dies away within a tenth second."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    walls = np.zeros(length)
    walls[0] = 1
    for lag in np.sort(rng.uniform(0.006, 0.030, 9)):
        walls[round(lag * RATE)] += rng.choice([-1, 1]) * 0.22 * np.exp(-lag / 0.02)
    tail = rng.normal(size=length) * np.exp(-time / 0.022) * np.clip((time - 0.008) / 0.02, 0, 1)
    walls += one_pole(0.025 * tail, 2500)
    return np.fft.irfft(np.fft.rfft(walls, 2 * SIZE) * np.fft.rfft(dry, 2 * SIZE))[:length]


def faded(ir: np.ndarray, fade_s: float) -> np.ndarray:
    """The last part of the response taken down to nothing; peak -1 dBFS."""
    fade = round(fade_s * RATE)
    ir = ir.copy()
    ir[-fade:] *= (0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 1) / fade)).reshape(-1, *[1] * (ir.ndim - 1))
    return ir / np.abs(ir).max() * 10 ** (-1 / 20)


def render() -> dict[str, np.ndarray]:
    """Every response by its name: [L] or [L, 2]."""
    short, long = 3072, 7680
    sides = [room(cabinet(ROOM, long, seed), long, 2000 + seed) for seed in (0, 1)]
    return {
        "4x12-dark": faded(cabinet(DARK, short), 0.02),
        "1x12-bright": faded(cabinet(BRIGHT, short), 0.02),
        "2x12-room": faded(np.stack(sides, 1), 0.05),
    }


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "irs")
    folder.mkdir(parents=True, exist_ok=True)
    for name, ir in render().items():
        soundfile.write(folder / f"{name}.wav", ir, RATE, subtype="PCM_24")


if __name__ == "__main__":
    main()
