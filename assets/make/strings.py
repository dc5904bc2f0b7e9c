"""Plucked strings by digital waveguide: a delay line whose loop filter gives pitch, decay and loss of treble.

After Karplus and Strong (1983), Jaffe and Smith (1983) and Valimaki et al. (1996). The loop carries the acceleration
of the string, for which a pluck is a short pulse, combed by the place of the pick; the pickup hears the velocity where
it sits, which is a comb again and an integration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 48000
NAMES = {"C": 0, "C#": 1, "D": 2, "D#": 3, "E": 4, "F": 5, "F#": 6, "G": 7, "G#": 8, "A": 9, "A#": 10, "B": 11}


def hertz(name: str) -> float:
    """The frequency of a note such as "E2" or "F#4" (A4 = 440 Hz)."""
    return 440.0 * 2 ** ((NAMES[name[:-1]] + 12 * int(name[-1]) - 57) / 12)


@dataclass(frozen=True)
class Instrument:
    """What all the strings have in common."""

    sustain_s: float  # T60 of a low open string
    treble_loss: float  # 0..0.5: the side taps of the loop's smoothing filter, for a string of 100 Hz
    pick_at: float  # where it is plucked, as a part of the string
    pickups: tuple[float, ...]  # where the coils are, likewise
    pick_ms: float  # how long a hard pick pushes the string
    resonance_hz: float  # of pickup and cable: a low-pass of second order
    resonance_q: float
    body: tuple[tuple[float, float, float], ...]  # wood: frequency, gain in dB, Q


GUITAR = Instrument(
    sustain_s=9.0, treble_loss=0.011, pick_at=0.13, pickups=(0.145, 0.175), pick_ms=0.2,
    resonance_hz=4200, resonance_q=2.0, body=((105, 1.5, 3.0), (205, 2.0, 3.0), (420, -1.5, 2.0), (740, 1.0, 3.0)),
)  # fmt: skip
BASS = Instrument(
    sustain_s=7.0, treble_loss=0.03, pick_at=0.21, pickups=(0.19, 0.23), pick_ms=0.6,
    resonance_hz=2800, resonance_q=1.2, body=((62, 1.5, 2.0), (140, 1.0, 2.0), (390, -2.0, 1.5)),
)  # fmt: skip


@dataclass(frozen=True)
class Note:
    """One plucked note; times in seconds."""

    at: float
    pitch: str
    lasts: float
    force: float = 0.8  # 0..1: louder and brighter
    muted: bool = False  # the palm on the bridge
    bend: float = 0.0  # semitones from which the pitch is bent up, over the first fifth of a second
    vibrato: float = 0.0  # semitones to either side


def loop_filter(delay: float, gain: float, smooth: float) -> tuple[int, np.ndarray]:
    """The loop's whole delay in samples, as a delay line and the six taps of a filter behind it.

    Third-order Lagrange interpolation for the fraction, times a symmetric smoothing filter.
    """
    line = int(delay) - 2
    d = delay - 1 - line  # 1..2 samples, and one more by the smoothing
    taps = np.array([np.prod([(d - j) / (k - j) for j in range(4) if j != k]) for k in range(4)])
    return line, gain * np.convolve(taps, [smooth, 1 - 2 * smooth, smooth])


def pluck(note: Note, instrument: Instrument, rng: np.random.Generator) -> np.ndarray:
    """The acceleration of the string at the pickups from the note's beginning until it is damped."""
    base = hertz(note.pitch)
    length = round((note.lasts + 0.25) * RATE)
    excitation = pick(note, instrument, base, length, rng)
    heard = np.zeros(length)
    # The string swings in two planes with slightly different pitch and decay, hence beats and a double decay.
    for share, detune, lasting in ((0.65, 1.0, 1.0), (0.35, 1.0006, 0.45)):
        heard += share * vibrate(note, instrument, base * detune, lasting, excitation)
    combed = np.zeros(length)
    for place in instrument.pickups:
        combed += (heard - delayed(heard, place * RATE / base)) / len(instrument.pickups)
    return combed


def pick(note: Note, instrument: Instrument, base: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """The push of the pick: a short pulse with a scrape, combed by the place where it happens."""
    width = max(4, round(instrument.pick_ms * (1.9 - note.force) * 1e-3 * RATE))
    push = np.zeros(length)
    push[:width] = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(width) + 0.5) / width)
    scrape = np.zeros(length)
    scrape[: 3 * width] = rng.normal(size=3 * width) * np.hanning(3 * width)
    push += 0.08 * note.force * scrape
    place = instrument.pick_at * rng.uniform(0.92, 1.08)
    push *= note.force * rng.uniform(0.95, 1.05) / np.sum(push) * (1.7 if note.muted else 1.0)
    return push - delayed(push, place * RATE / base)


def vibrate(note: Note, instrument: Instrument, base: float, lasting: float, excitation: np.ndarray) -> np.ndarray:
    """The loop, a block shorter than a period at a time."""
    length = len(excitation)
    memory = int(RATE / (base * 2 ** (-(note.bend + note.vibrato) / 12))) + 16
    y = np.zeros(memory + length)
    at = 0
    while at < length:
        time = at / RATE
        bent = -note.bend * max(0.0, 1 - time / 0.2)
        wobble = note.vibrato * np.sin(2 * np.pi * 5.3 * (time - 0.3)) * min(1.0, max(0.0, (time - 0.3) / 0.3))
        frequency = base * 2 ** ((bent + wobble) / 12)
        sustain = lasting * instrument.sustain_s * (82.0 / base) ** 0.35
        smooth = instrument.treble_loss * (100.0 / base) ** 0.3
        if note.muted:
            sustain, smooth = 0.5 * lasting + 0.1, 0.05
        if time > note.lasts:
            sustain, smooth = 0.12, 0.12
        line, taps = loop_filter(RATE / frequency, 10 ** (-3 / (frequency * sustain)), smooth)
        count = min(line, 64 if note.bend or note.vibrato else line, length - at)
        now = memory + at
        past = y[now - line - len(taps) + 1 : now - line + count]
        y[now : now + count] = np.convolve(past, taps, mode="valid") + excitation[at : at + count]
        at += count
    fade = round(0.05 * RATE)
    y[-fade:] *= np.linspace(1, 0, fade)
    return y[memory:]


def delayed(signal: np.ndarray, samples: float) -> np.ndarray:
    """By a number of samples that need not be whole, interpolating linearly."""
    whole = int(samples)
    part = samples - whole
    late = np.concatenate([np.zeros(whole), signal])[: len(signal)]
    return (1 - part) * late + part * np.concatenate([[0], late[:-1]])


def render(notes: list[Note], instrument: Instrument, length: int, seed: int) -> np.ndarray:
    """A loop of `length` samples, peak -6 dBFS: what rings over the end begins the loop."""
    rng = np.random.default_rng(seed)
    loop = np.zeros(length)
    for note in notes:
        sound = pluck(note, instrument, rng)
        start = round(note.at * RATE)
        np.add.at(loop, (start + np.arange(len(sound))) % length, sound)
    loop = np.fft.irfft(np.fft.rfft(loop) * electronics(instrument, np.fft.rfftfreq(length, 1 / RATE)), length)
    return 0.5 * loop / np.abs(loop).max()


def electronics(instrument: Instrument, frequency: np.ndarray) -> np.ndarray:
    """The response of body, pickup and cable, and the integration of acceleration to velocity."""
    s = 1j * frequency / instrument.resonance_hz
    response = 1 / (1 + s / instrument.resonance_q + s**2)
    response *= 1j * frequency / (1 + 1j * frequency / 35.0) / (1 + 1j * frequency / 60.0)
    bells = np.zeros_like(frequency)
    f = np.maximum(frequency, 1.0)
    for at, gain_db, q in instrument.body:
        bells += gain_db / (1 + (q * (f / at - at / f)) ** 2)
    return response * 10 ** (bells / 20)
