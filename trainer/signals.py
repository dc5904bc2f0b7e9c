"""The signal that is played through a device to capture it, and what its return says of the loop.

Deterministic: the same rate and length always give the same samples. In order:

    silence   0.5 s   what is heard here is the device's own noise
    blips     1.5 s   two clicks, at 0.75 and 1.25 s: the loop's latency
    sweep     6 s     20 Hz..18 kHz, exponential, at three levels one after another: the linear part, and its harmonics
    steps     3 s     a 110 Hz tone in twelve steps of 4 dB, quiet to loud: compression
    noise     4 s     pink bursts with gaps, at falling levels: everything at once
    plucks    rest    strings plucked at random, notes and chords, soft and hard, ringing on and damped, with rests
    again     2 s     the first two seconds of the plucks once more: does the device repeat itself?
    silence   0.25 s
    blips     1 s     two clicks: has the latency stayed?

The plucks are last so that the last fifth, which a network is tested on, is music that was not played before.
`python -m trainer.signals DRY [--rate HZ] [--seconds S]` writes it; `measure` looks at what came back.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import NamedTuple

import numpy as np

from . import align, checks, sound
from .checks import Finding
from .config import TrainerError
from .metrics import esr, exponential_sweep

SHORTEST_S, LONGEST_S = 24.0, 1800.0
BLIPS_S = (0.75, 1.25)  # from the start
LAST_BLIPS_S = (0.9, 0.4)  # before the end
PLUCKS_S = 15.0  # where they begin
AGAIN_S, TAIL_S = 2.0, 1.25
PEAK = 0.5  # of the whole signal; the player turns it up or down
HEARD = 8.0  # times the noise before it: a blip has arrived
JUMPED = 2  # samples by which blips may differ
REPEATS = 0.01  # ESR between the two takes of the same passage


class Loop(NamedTuple):
    """What the blips say."""

    latency: int | None  # samples, one before the first arrival; None: no blip came back
    noise_db: float  # RMS of the return before the first blip, relative to full scale
    findings: list[Finding]


def capture_signal(rate: int = 48000, seconds: float = 60.0) -> np.ndarray:
    """The signal, `[N]` float32, peak 0.5. Raises TrainerError for a length outside of 24 s to half an hour."""
    if not SHORTEST_S <= seconds <= LONGEST_S or not 8000 <= rate <= 192000:
        raise TrainerError(f"a capture signal of {seconds:g} s at {rate} Hz: must be 24 to 1800 s at 8 to 192 kHz")
    x, rng = np.zeros(round(seconds * rate)), np.random.default_rng(20)

    def put(at: float, part: np.ndarray) -> None:
        start = round(at * rate)
        x[start : start + len(part)] += part[: len(x) - start]

    for at in blips(seconds):
        put(at, _blip(rate))
    for number, level in enumerate((1.0, 0.25, 0.06)):
        put(2.0 + 2 * number, level * exponential_sweep(rate, 1.95, 20.0, min(18000.0, 0.45 * rate)))
    put(8.0, _steps(rate))
    put(11.0, _bursts(rate, rng))
    end = seconds - TAIL_S - AGAIN_S
    plucks = _plucks(rate, end - PLUCKS_S, rng)
    put(PLUCKS_S, plucks)
    put(end, plucks[: round(AGAIN_S * rate)])
    return (PEAK / np.abs(x).max() * x).astype(np.float32)


def blips(seconds: float) -> list[float]:
    """When the clicks are, in s."""
    return [*BLIPS_S, *(seconds - before for before in LAST_BLIPS_S)]


def measure(dry: np.ndarray, wet: np.ndarray, rate: int) -> Loop:
    """Latency, noise and steadiness of the loop from the return `[M]` of `capture_signal` `[N]`."""
    seconds = len(dry) / rate
    rest = wet[round(0.1 * rate) : round(0.7 * rate)].astype(np.float64)
    noise = float(np.sqrt(np.mean(rest**2))) if len(rest) else 0.0
    arrivals = [_arrival(wet, round(at * rate), rate) for at in blips(seconds)]
    heard = [late for late in arrivals if late is not None]
    noise_db = 20 * np.log10(noise + 1e-10)
    if not heard:
        nothing = Finding(
            "no return",
            "bad",
            f"none of the clicks came back; the return peaks at {20 * np.log10(np.abs(wet).max() + 1e-10):.0f} dBFS",
            "the loop is open, or the wrong input is recorded",
            "check cables, the device's bypass, and --output and --input",
        )
        return Loop(None, noise_db, [nothing])
    latency, findings = max(0, min(heard) - 1), []
    if max(heard) - min(heard) > JUMPED:
        late = ", ".join(f"{late}" for late in heard)
        findings.append(
            Finding(
                "dropouts",
                "bad" if max(heard) - min(heard) > 16 else "warning",
                f"the latency changed on the way: the clicks came back {late} samples late",
                "samples were lost or the clocks differ, so that later passages do not fit",
                "record again with larger blocks; play and record with one interface",
            )
        )
    if len(heard) < len(arrivals):
        lost = f"{len(arrivals) - len(heard)} of {len(arrivals)} clicks did not come back"
        findings.append(Finding("gate", "note", lost, "the device gates, or its noise covers them"))
    first, again = (round(at * rate) + latency for at in (PLUCKS_S, seconds - TAIL_S - AGAIN_S))
    length = round(AGAIN_S * rate)
    rise = round(0.2 * rate)  # what came before still rings
    once, more = wet[first + rise : first + length], wet[again + rise : again + length]
    if len(more) == len(once) > 0 and np.abs(once).max() > 0:
        differs = esr(more, once)
        if differs > REPEATS:
            findings.append(
                Finding(
                    "not repeatable",
                    "warning",
                    f"the same passage came back differently at the end (error-to-signal ratio {differs:.3f})",
                    "noise, a modulation, or the device changed on the way; no network comes closer than this",
                    "let it warm up, switch modulations off, do not touch its knobs",
                )
            )
    return Loop(latency, noise_db, findings)


def _arrival(wet: np.ndarray, at: int, rate: int) -> int | None:
    """Samples from a blip's start to the first that stands out of the noise, within 0.3 s; None: there is none."""
    before = wet[max(0, at - round(0.1 * rate)) : at].astype(np.float64)
    after = np.abs(wet[at : at + round(0.3 * rate)])
    if len(after) == 0 or len(before) == 0:
        return None
    mean = before.mean()
    level = max(HEARD * float(before.std()), 0.05 * float(np.abs(after - mean).max()), 1e-5)
    over = np.abs(wet[at : at + round(0.3 * rate)] - mean) > level
    return int(np.argmax(over)) if over.any() else None


# --- parts ------------------------------------------------------------------------------------------------------------


def _blip(rate: int) -> np.ndarray:
    """A click: one period of a sine of 0.2 ms, up and down, so that it passes a transformer."""
    length = 2 * max(2, round(0.0001 * rate))
    return np.sin(2 * np.pi * (np.arange(length) + 0.5) / length)


def _steps(rate: int) -> np.ndarray:
    length = round(0.25 * rate)
    levels = 10 ** (np.arange(-44.0, 0.1, 4.0) / 20)
    return np.repeat(levels, length) * np.sin(2 * np.pi * 110.0 / rate * np.arange(12 * length))


def _bursts(rate: int, rng: np.random.Generator) -> np.ndarray:
    """Eight bursts of pink noise of 0.35 s, half a second apart, each 5 dB quieter."""
    bursts, length = np.zeros(4 * rate), round(0.35 * rate)
    for number in range(8):
        spectrum = np.fft.rfft(rng.normal(size=length))
        hz = np.fft.rfftfreq(length, 1 / rate)
        pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), length)
        start = round(0.5 * number * rate)
        bursts[start : start + length] = 10 ** (-5 * number / 20) * pink / np.abs(pink).max()
    return bursts


def _plucks(rate: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Notes of E1 to E6, alone and in chords; every few seconds a rest in which they ring out."""
    plucks, at = np.zeros(round(seconds * rate)), 0.0
    while at < seconds:
        count = 1 if rng.random() < 0.55 else int(rng.integers(2, 6))
        loud = 10 ** (rng.uniform(-26, 0) / 20) / np.sqrt(count)
        lasts = rng.uniform(0.08, 1.6)
        for pitch in rng.integers(28, 89, size=count):
            start = round((at + rng.uniform(0, 0.02) * (count > 1)) * rate)
            note = loud * _string(440 * 2 ** ((pitch - 69) / 12), rate, lasts, rng)
            plucks[start : start + len(note)] += note[: max(0, len(plucks) - start)]
        at += rng.uniform(0.06, 0.7) + (rng.uniform(0.5, 1.5) if rng.random() < 0.08 else 0.0)
    return plucks / np.abs(plucks).max()


def _string(hz: float, rate: int, lasts: float, rng: np.random.Generator) -> np.ndarray:
    """A plucked string as a sum of partials: stiff, brighter the harder it is hit, its point of plucking at random."""
    length = round((lasts + 0.05) * rate)
    stiff, where, dull = rng.uniform(0, 4e-4), rng.uniform(0.07, 0.4), rng.uniform(0.7, 1.6)
    partials = np.arange(1, 41)
    pitches = hz * partials * np.sqrt(1 + stiff * partials**2)
    partials, pitches = partials[pitches < 0.45 * rate], pitches[pitches < 0.45 * rate]
    sizes = np.sin(np.pi * where * partials) / partials**dull * np.exp(1j * rng.uniform(0, 2 * np.pi, len(partials)))
    poles = (2j * np.pi * pitches - (0.6 + 0.5 * (hz / 110) ** 0.5 + 0.25 * partials)) / rate
    # exp(pole (a + b)) = exp(pole a) exp(pole b): a product of two small matrices instead of a sine for every sample
    coarse, fine = np.arange(0, length, 256), np.arange(256)
    tone = ((sizes * np.exp(np.outer(coarse, poles))) @ np.exp(np.outer(poles, fine))).imag.reshape(-1)[:length]
    time = np.arange(length) / rate
    pick = rng.normal(size=length) * np.exp(-time / 0.003) * 0.15
    return (tone + pick) * np.minimum(1, time / 0.001) * np.clip((lasts - time) / 0.03, 0, 1)


# --- the program ------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Write the signal, or with --returned look at what came back: findings as JSON lines, the aligned wet file."""
    parser = argparse.ArgumentParser(prog="python -m trainer.signals", description="The signal for captures.")
    parser.add_argument("dry", help="the signal's file")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--returned", metavar="FILE", help="what came back")
    parser.add_argument("--wet", metavar="FILE", help="where to write it, aligned to the signal")
    parser.add_argument("--delay", type=int, help="the loop's latency in samples, instead of what is found")
    parser.add_argument("--own", action="store_true", help="the dry file is not the capture signal: align by the music")
    args = parser.parse_args(arguments)
    try:
        if not args.returned:
            sound.write(args.dry, capture_signal(args.rate, args.seconds), args.rate)
            return 0
        for record in look(args.dry, args.returned, args.wet, args.delay, args.own):
            print(json.dumps(record), flush=True)
    except TrainerError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    return 0


def look(dry: str, returned: str, wet: str | None, delay: int | None = None, own: bool = False):
    """What is said of a return: one record of the loop, one for each finding; the aligned wet file is written."""
    source, back = sound.read(dry), sound.read(returned)
    x, y = sound.mono(source), sound.mono(back)
    if own:
        lies = align.find(x, y, source.rate)
        loop = Loop(max(0, lies.arrival - 1) if lies.confidence >= checks.UNSURE else None, float("nan"), [])
    else:
        loop = measure(x, y, source.rate)
    latency = loop.latency if delay is None else delay
    aligned = np.zeros_like(x)
    part = y[latency or 0 :][: len(x)]
    aligned[: len(part)] = part
    if wet:
        sound.write(wet, aligned, source.rate)
    report = checks.examine(source, back._replace(samples=aligned[:, None]), delay=0)
    yield {
        "event": "loop",
        "latency": latency,
        "latency_ms": None if latency is None else round(1000 * latency / source.rate, 3),
        "noise_db": None if own else round(loop.noise_db, 1),
        "peak_db": round(20 * float(np.log10(np.abs(y).max() + 1e-10)), 1),
    }
    for finding in (*loop.findings, *report.findings):
        yield {"event": "check", **finding._asdict()}


if __name__ == "__main__":
    sys.exit(main())
