"""What is wrong with a pair of recordings, in plain language, before anything is learned from it.

`examine` answers with findings: what, why, what to do. A `bad` one stops a run unless it is to train anyway, a
`warning` does not, a `note` needs nothing. `python -m trainer.checks DRY WET` prints them.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Literal, NamedTuple

import numpy as np

from . import align, sound
from .align import Alignment
from .config import TrainerError
from .sound import Channel, Recording

ALIGNED_S = 0.0005  # a lag up to here is left to the network: devices turn phases by as much
EARLY_S, NEGATIVE_S = 0.00025, 0.002  # the wet signal leads by this: it cannot be learned; the files are not aligned
WOBBLE_S = 9.5e-6  # of the lag around its line: tape is above, amplifiers and fuzzes below
UNALIGNED, UNSURE = 0.2, 0.5  # confidence
SILENT, QUIET_DB = 1e-4, -60.0  # peak of nothing, peak of little
REST_DB = -60.0  # below the dry signal's own level: it rests
NOISY_DB, DROWNED_DB = 20.0, 6.0  # of the wet signal over its noise while the dry one rests
FLAT_RUN, CLIPPED = 4, 1e-4  # equal samples at full scale in a row; the share of them that spoils a recording
SHORTEST_S, SHORT_S = 1.0, 10.0
DC = 0.05  # of the signal's size
LENGTHS, GAIN_ONLY = 0.02, 0.05  # relative difference of durations that is only a tail; ESR of a constant gain
SAME, SAME_GAIN = 1e-8, 1e-3  # ESR and deviation of the gain from 1 up to which both files hold one sound
JUMP = 3.0  # times the steps around it
RATES = (44100, 48000, 88200, 96000, 32000, 22050)

Severity = Literal["bad", "warning", "note"]
ORDER = ("bad", "warning", "note")


class Finding(NamedTuple):
    """One thing about a pair."""

    kind: str
    severity: Severity
    message: str  # what, with the numbers
    reason: str = ""  # why it matters
    remedy: str = ""  # what to do

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.message, self.reason, self.remedy)))


class Report(NamedTuple):
    """All findings, how the files lie, and what is to be trained on."""

    findings: list[Finding]
    alignment: Alignment | None  # None where there was nothing to align
    delay: int  # samples of latency taken out
    dry: np.ndarray  # [N] float32, aligned
    wet: np.ndarray  # [N] float32
    rate: int

    @property
    def bad(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "bad"]


def examine(
    dry: Recording, wet: Recording, *, rate: int | None = None, channel: Channel = "auto", delay: int | str = "auto"
) -> Report:
    """Look at a pair; its signals come back mono, at one rate, aligned and of equal length."""
    if not (delay == "auto" or isinstance(delay, int)):
        raise TrainerError(f"delay {delay!r}: must be auto or a whole number of samples")
    rate = rate or dry.rate
    found = [*_rates(dry, wet), *_channels(dry, wet, channel)]
    x, y = (sound.mono(one, channel) for one in (dry, wet))
    found += [*_lengths(dry, wet), *_levels(x, y)]
    x, y = sound.resample(x, dry.rate, rate), sound.resample(y, wet.rate, rate)
    if any(finding.kind in ("silence", "too short") for finding in found):
        return Report(_worst_first(found), None, 0, *align.shifted(x, y, 0), rate)
    lies = align.find(x, y, rate)
    late = lies.confidence >= UNSURE and lies.lag > ALIGNED_S * rate
    taken = delay if isinstance(delay, int) else max(0, lies.arrival - 1) if late else 0
    found += [*_placed(dry, wet, x, y, lies, rate, delay, taken)]
    x, y = align.shifted(x, y, taken)
    if len(x) < SHORTEST_S * rate:
        found.append(_too_short(len(x) / rate))
    if lies.confidence >= UNALIGNED and len(x):
        found += _signals(x, y, rate)
    return Report(_worst_first(found), lies, taken, x, y, rate)


def _worst_first(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: ORDER.index(one.severity))


# --- what the files say -----------------------------------------------------------------------------------------------


def _rates(dry: Recording, wet: Recording):
    if dry.rate == wet.rate:
        return
    seconds = len(dry.samples) / dry.rate, len(wet.samples) / wet.rate
    both = f"the wet file is at {wet.rate} Hz, the dry one at {dry.rate} Hz"
    if _near(len(dry.samples), len(wet.samples)) and not _near(*seconds):
        yield Finding(
            "rate mismatch",
            "bad",
            f"{both}, yet they have the same number of samples",
            "one of them says the wrong rate, so that they would run apart",
            "write the right rate into the header, or export both again at one rate",
        )
    else:
        yield Finding("rate mismatch", "warning", f"{both}; the wet file was converted", "", "record both at one rate")


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= LENGTHS * max(a, b)


def _channels(dry: Recording, wet: Recording, channel: Channel):
    counts = dry.samples.shape[1], wet.samples.shape[1]
    for name, one in (("dry", dry), ("wet", wet)):
        if channel == "auto" and sound.sides_differ(one):
            yield Finding(
                "channel mismatch",
                "warning",
                f"the {name} file has {one.samples.shape[1]} channels that differ; one of them is used",
                f"the other file has {counts[0] if name == 'wet' else counts[1]}, and what is learned is mono",
                "choose with channel: left, right, mix or a number",
            )


def _lengths(dry: Recording, wet: Recording):
    a, b = len(dry.samples) / dry.rate, len(wet.samples) / wet.rate
    if min(a, b) < SHORTEST_S:
        yield _too_short(min(a, b))
    elif min(a, b) < SHORT_S:
        little = f"{min(a, b):.1f} s of sound are little"
        yield Finding("short", "note", little, "what was not played is not learned", "record half a minute or more")
    if not _near(a, b):
        severity = "bad" if min(a, b) < 0.5 * max(a, b) else "warning"
        yield Finding(
            "length mismatch",
            severity,
            f"the dry file lasts {a:.2f} s, the wet one {b:.2f} s; the rest of the longer one is left out",
            "they may not be the same take",
            "export both with the same start and end",
        )


def _too_short(seconds: float) -> Finding:
    return Finding(
        "too short",
        "bad",
        f"{seconds:.2f} s in common",
        f"at least {SHORTEST_S:g} s is needed",
        "record more; half a minute for one setting is a good start",
    )


# --- levels -----------------------------------------------------------------------------------------------------------


def _levels(x: np.ndarray, y: np.ndarray):
    for name, signal in (("dry", x), ("wet", y)):
        peak = float(np.abs(signal).max()) if len(signal) else 0.0
        if peak < SILENT:
            remedy = "send the signal through the device" if name == "wet" else "choose the file that was played"
            yield Finding("silence", "bad", f"the {name} file is silent", "there is nothing to learn", remedy)
            continue
        if peak < 10 ** (QUIET_DB / 20):
            message = f"the {name} file peaks at {-_db(peak):.0f} dB below full scale"
            yield Finding("quiet", "warning", message, "noise and rounding are near", "turn it up")
        clipped = clipping(signal)
        if clipped:
            yield Finding(
                "clipping",
                "bad" if clipped > CLIPPED * len(signal) else "warning",
                f"the {name} file is cut off at full scale for {clipped} samples",
                "the network would learn the converter's clipping as the device's",
                "turn the recording down by 3 to 6 dB and record again",
            )
        mean = float(signal.mean(dtype=np.float64))
        if abs(mean) > DC * float(np.sqrt(np.mean(signal.astype(np.float64) ** 2))):
            yield Finding(
                "offset",
                "warning",
                f"the {name} file has a constant part of {mean:.4f}",
                "a device through a transformer or a capacitor has none; a simulation may still be settling",
                "filter it below 10 Hz, or cut what precedes the steady state",
            )


def clipping(x: np.ndarray) -> int:
    """Samples in runs of four or more that stand still at full scale, with a corner before or after them."""
    size = np.abs(x)
    peak = float(size.max())
    if peak < 0.98:
        return 0
    edges = np.diff(np.concatenate([[0], (size >= peak - 1e-6).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    around = np.minimum(size[np.maximum(starts - 1, 0)], size[np.minimum(ends, len(x) - 1)])
    runs = ends - starts
    return int(runs[(runs >= FLAT_RUN) & (around < peak - 1e-3)].sum())


def _db(amplitude: float) -> float:
    return 20 * np.log10(max(amplitude, 1e-12))


def _power(x: np.ndarray, frame: int) -> np.ndarray:
    """Mean square of frame after frame."""
    count = len(x) // frame
    return (x[: count * frame].reshape(count, frame).astype(np.float64) ** 2).mean(axis=1)


# --- in time ----------------------------------------------------------------------------------------------------------


def _placed(dry, wet, x, y, lies: Alignment, rate: int, delay: int | str, taken: int):
    ms = 1000 / rate
    if lies.confidence < UNALIGNED:
        label = _mislabelled(x, y, rate)
        if label:
            yield Finding(
                "rate mismatch",
                "bad",
                f"the wet file says {wet.rate} Hz but sounds like {label} Hz",
                "it runs at another speed than the dry one",
                "write the right rate into the header, or export it again",
            )
        else:
            yield Finding(
                "unaligned",
                "bad",
                "the wet file does not follow the dry one",
                "they are different takes, or further apart than 5 s",
                "check that they belong together; cut both to the same start; or give the delay",
            )
        return
    if lies.confidence < UNSURE:
        yield Finding(
            "unsure",
            "warning",
            f"the latency is a guess ({lies.lag} samples, confidence {lies.confidence:.0%})",
            "the device changes the sound beyond recognition, or the take is short",
            "listen to both together, and give the delay in samples",
        )
    left = lies.lag - taken  # of latency, after what was taken out
    if left < -NEGATIVE_S * rate:
        cause = f" once the delay of {taken} is taken out" if taken else ""
        yield Finding(
            "negative delay",
            "bad",
            f"the wet signal comes {-left} samples ({-left * ms:.1f} ms) before the dry one{cause}",
            "no device answers before it is asked: the files are swapped or were cut differently",
            f"swap them, cut them alike, or give delay = {lies.arrival}",
        )
    elif left < -EARLY_S * rate:
        yield Finding(
            "non-causal lag",
            "warning",
            f"the wet signal leads by {-left} samples ({-left * ms:.2f} ms)",
            "what comes before its cause cannot be learned: the high frequencies will be missing",
            f"cut the wet file later, or give delay = {lies.arrival - 1}",
        )
    elif delay == "auto" and taken:
        sure = f"found with {lies.confidence:.0%} confidence"
        yield Finding("latency", "note", f"{taken} samples ({taken * ms:.1f} ms) of latency were taken out, {sure}")
    elif left > NEGATIVE_S * rate and lies.confidence >= UNSURE:
        yield Finding(
            "late",
            "warning",
            f"the wet signal is {left} samples ({left * ms:.1f} ms) late",
            "the network spends itself on the delay, or cannot reach back so far",
            f"give delay = {lies.arrival - 1}, or auto",
        )
    apart = lies.drift * len(x)
    if abs(lies.drift) > 1e-6 and abs(apart) > max(1.0, 6 * lies.wobble):
        yield Finding(
            "drift",
            "bad" if abs(apart) > 8 else "warning",
            f"the files run apart by {abs(lies.drift) * 1e6:.0f} parts in a million, {abs(apart):.1f} samples in all",
            "they were played and recorded by two clocks; late passages are not where the early ones say",
            "play and record with one interface, or stretch the wet file",
        )
    if lies.wobble > WOBBLE_S * rate:
        yield Finding(
            "wobble",
            "warning",
            f"the delay wanders by {lies.wobble:.1f} samples around its mean",
            "tape or a modulation: the error cannot become small, however good the network",
            "judge by the spectral losses; feed a modulation's LFO to the network as control",
        )
    if lies.polarity < 0:
        yield Finding("polarity", "note", "the device turns the signal upside down; so will the effect")


def _mislabelled(x: np.ndarray, y: np.ndarray, rate: int) -> int | None:
    """The rate at which the wet signal would follow the dry one."""
    longest = 15 * rate
    for other in RATES:
        if other != rate:
            lies = align.find(x[:longest], sound.resample(y[: 3 * longest], other, rate), rate)
            if lies.confidence >= UNSURE:
                return other
    return None


# --- the signals, aligned ---------------------------------------------------------------------------------------------


def _signals(x: np.ndarray, y: np.ndarray, rate: int):
    frame = round(0.05 * rate)
    dry, wet = _power(x, frame), _power(y, frame)
    size = dry.mean()
    plays = dry > 0.01 * size
    rests = _rest(dry < size * 10 ** (REST_DB / 10))
    if rests.sum() >= 2 and plays.any():
        over = 10 * np.log10((wet[plays].mean() + 1e-20) / (np.median(wet[rests]) + 1e-20))
        if over < NOISY_DB:
            yield Finding(
                "noise",
                "bad" if over < DROWNED_DB else "warning",
                f"the wet signal is {max(over, 0):.0f} dB above the noise that is left when nothing is played",
                "noise cannot be learned and hides what can",
                "turn the device or the input up, find the hum, or check that the device is in the loop",
            )
    gone = plays & (wet < 1e-10)
    if gone.mean() > 0.02:
        yield Finding(
            "dropouts",
            "bad" if gone.mean() > 0.2 else "warning",
            f"the wet signal is dead for {gone.sum() * 0.05:.1f} s while the dry one plays",
            "the recording was interrupted or begins late, or the device gates",
            "record again without interruption, or cut both files to where both sound",
        )
    x, y = x.astype(np.float64), y.astype(np.float64)
    power = float(np.mean(y**2))
    gain = float(np.vdot(x, y)) / max(float(np.vdot(x, x)), 1e-20)
    rest = float(np.mean((y - gain * x) ** 2)) / max(power, 1e-20)
    if rest < SAME and abs(gain - 1) < SAME_GAIN:
        yield Finding(
            "same sound",
            "bad",
            "both files hold the same sound",
            "there is nothing to learn",
            "choose as wet what came out of the device, and check that it was not bypassed",
        )
    elif rest < GAIN_ONLY:
        yield Finding(
            "gain only",
            "note",
            f"a constant gain of {_db(abs(gain)):.1f} dB leaves an error of {rest:.3f}",
            "a compressor, an equaliser, or nothing at all is in the loop",
            "judge by MAE, spectral losses and loudness: the error-to-signal ratio will look good whatever is learned",
        )
    pieces = piece_length(x)
    if pieces:
        yield Finding(
            "pieces",
            "warning",
            f"the dry file is put together from pieces of {pieces} samples",
            "each was recorded on its own, so the device's memory does not reach across",
            f"give piece = {pieces}",
        )


def _rest(quiet: np.ndarray) -> np.ndarray:
    """Frames that are quiet and have been for three frames: echoes have died away."""
    return quiet & np.roll(quiet, 1) & np.roll(quiet, 2) & np.roll(quiet, 3) & (np.arange(len(quiet)) >= 3)


def piece_length(x: np.ndarray) -> int:
    """Samples of each piece of a signal that jumps at regular times; 0 where it does not."""
    steps = np.abs(np.diff(x))
    around = np.zeros_like(steps)
    for shift in range(1, 11):
        around[shift:] = np.maximum(around[shift:], steps[:-shift])
        around[:-shift] = np.maximum(around[:-shift], steps[shift:])
    jumps = np.flatnonzero(steps > JUMP * (around + 1e-3)) + 1
    if len(jumps) < 4:
        return 0
    gaps, counts = np.unique(np.diff(jumps), return_counts=True)
    piece = int(gaps[np.argmax(counts)])
    regular = np.mean(jumps % piece == 0) > 0.9 and len(jumps) > 0.5 * (len(x) // piece)
    return piece if piece > 256 and regular else 0


def main(arguments: list[str] | None = None) -> int:
    """Print what there is to say about a pair; 1 where something is bad."""
    parser = argparse.ArgumentParser(prog="python -m trainer.checks", description="What is wrong with a pair.")
    parser.add_argument("dry")
    parser.add_argument("wet")
    parser.add_argument("--delay", default="auto", help="samples by which the wet file is late; found otherwise")
    parser.add_argument("--channel", default="auto", help="auto, left, right, mix or a number from 0")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--pair", action="store_true", help="one more line of JSON: how the files lie")
    args = parser.parse_args(arguments)
    try:
        delay, channel = (int(x) if x.lstrip("-").isdigit() else x for x in (args.delay, args.channel))
        report = examine(sound.read(args.dry), sound.read(args.wet), delay=delay, channel=channel)
    except TrainerError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    for finding in report.findings:
        print(json.dumps(finding._asdict()) if args.json else f"{finding.severity:<8} {finding.kind}: {finding}")
    if args.pair:
        print(json.dumps({"rate": report.rate, "delay": report.delay, "seconds": len(report.dry) / report.rate}))
    if not report.findings and not args.json:
        print("nothing is wrong with this pair")
    return int(bool(report.bad))


if __name__ == "__main__":
    sys.exit(main())
