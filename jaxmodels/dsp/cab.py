"""Cab: convolution with the impulse response (IR) of a loudspeaker cabinet, without added latency.

With h the IR and P = 256, y[m] = sum of h[k] x[m - k] is cut into the first P taps, done directly, and a tail of
partitions of P taps, done by overlap-save with FFTs of 2P (uniformly partitioned convolution, Gardner 1995). The tail
of the period [nP, (n + 1)P) needs F(n), the spectrum of x[(n - 2)P .. nP), and older ones:

    tail spectrum of period n = F(n) H(1) + F(n - 1) H(2) + ... + F(n + 1 - N) H(N)

All but the first term are known a period earlier, so they are added up in four equal shares, one every 64 samples: no
block costs much more than another. Which share is due follows from samples counted in the state, so any cut of the
signal gives the same output.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

from ..assets import assets_folder
from ..convolution import by_rows
from ..effect import Knob
from ..settings import setting
from .fourier import irfft_end, rfft
from .gain import amplitude

PARTITION = 256  # P, samples
SHARES = 4
CHUNK = PARTITION // SHARES  # samples between two shares of the work; also the most that is done at once
GROUPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)  # partitions in a share: few sizes, few programs

DEFAULT_IR = "4x12-dark"
BAND_HZ = (80.0, 5000.0)  # where a levelled IR has unit energy
LONGEST_READ_S = 10  # a song chosen by mistake must not fill the memory
FADE_MS = 10.0  # at the end of a response that is cut short
SILENCE = 1e-3  # of the peak: what is quieter before the impulse is cut
UNHEARD = 1e-6  # of the peak: what is quieter at the end is cut


class IRError(ValueError):
    """An impulse response that cannot be used; the text names the file and what to do."""


class CabState(NamedTuple):
    """What a convolver remembers between blocks. R = 4 G spectra are kept, of P + 1 bins, real and imaginary parts."""

    since: Int[Array, ""]  # samples since the period began, 0..P-1
    past: Float[Array, "C 2*P"]  # the last input samples
    spectra: Float[Array, "R+G+1 2 C P+1"]  # R rows in a ring, a mirror of the first G, and one row for waste
    newest: Int[Array, ""]  # the row of F(n); F(n - 1) is the next one
    sums: Float[Array, "2 C P+1"]  # the shares of the next period's tail spectrum so far
    tail: Float[Array, "C P"]  # what the tail gives in this period


class Cab(nnx.Module):
    """Loudspeaker cabinet: convolution with an impulse response of up to 1 s, mono or stereo.

    A mono IR is applied to each channel. A stereo IR is applied left to left and right to right in a stereo rack; a
    mono rack gets the mean of its channels. Raises IRError where the file cannot be used.
    """

    @dataclass(frozen=True)
    class Settings:
        ir: str = setting("", help="an audio file, or the name of a built-in response; empty: the default one")
        trim: bool = setting(True, help="cut the silence before the impulse")
        normalise: bool = setting(True, help="level the response: unit energy from 80 Hz to 5 kHz")
        length_ms: float = setting(1000.0, low=5.0, high=1000.0, help="what is longer is faded out here")

    knobs = (Knob("level", "dB", -24.0, 24.0, 0.0), Knob("mix", "", 0.0, 1.0, 1.0))
    sample_rate = None
    latency = 0

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate
        ir = impulse_response(settings, sample_rate)
        if len(ir) not in (1, channels):
            ir = ir.mean(axis=0, keepdims=True)
        self.convolver = Convolver(ir, channels)
        self.receptive_field = self.convolver.receptive_field

    def initial_state(self, knobs=None):
        return self.convolver.initial_state()

    def step(self, state, x, knobs):
        wet, state = self.convolver.step(state, x)
        level = amplitude(self.knobs[0].value(knobs[:, :1]))
        mix = self.knobs[1].value(knobs[:, 1:2])
        return x * (1.0 - mix) + wet * (level * mix), state


class Convolver(nnx.Module):
    """Convolution of C channels with an impulse response `[C, L]`, or `[1, L]` for all of them, without latency.

    L is at most 197,120. The response is padded to the next of a few lengths, which `receptive_field` tells.
    """

    def __init__(self, ir: Float[np.ndarray, "C L"], channels: int):
        self.channels = channels
        self.group = next(g for g in GROUPS if (2 + SHARES * g) * PARTITION >= ir.shape[1])
        self.receptive_field = (2 + SHARES * self.group) * PARTITION  # of the padded IR: equal shapes, equal programs
        ir = np.pad(ir, ((0, 0), (0, self.receptive_field - ir.shape[1])))
        # Row i, column n: the tap by which sample i of a window (P - 1 past samples, then the chunk) reaches output n.
        tap = np.arange(CHUNK) + PARTITION - 1 - np.arange(PARTITION - 1 + CHUNK)[:, None]
        reached = (tap >= 0) & (tap < PARTITION)
        self.head = jnp.asarray(np.where(reached, ir[:, np.clip(tap, 0, PARTITION - 1)], 0), jnp.float32)
        parts = ir[:, PARTITION:].reshape(len(ir), -1, PARTITION).swapaxes(0, 1)
        spectra = np.fft.rfft(parts, 2 * PARTITION)
        self.tail = jnp.asarray(np.stack([spectra.real, spectra.imag], 1), jnp.float32)  # [1 + 4 G, 2, C or 1, P + 1]

    def initial_state(self) -> CabState:
        rows, pair = SHARES * self.group + self.group + 1, (2, self.channels, PARTITION + 1)
        return CabState(
            since=jnp.zeros((), jnp.int32),
            past=jnp.zeros((self.channels, 2 * PARTITION)),
            spectra=jnp.zeros((rows, *pair)),
            newest=jnp.zeros((), jnp.int32),
            sums=jnp.zeros(pair),
            tail=jnp.zeros((self.channels, PARTITION)),
        )

    def step(self, state: CabState, x: Float[Array, "T C"]) -> tuple[Float[Array, "T C"], CabState]:
        length = x.shape[0]
        if length <= CHUNK:
            state, wet = self._chunk(state, (x.T, length))
            wet = wet.T
        else:
            chunks = -(-length // CHUNK)
            padded = jnp.pad(x, ((0, chunks * CHUNK - length), (0, 0))).reshape(chunks, CHUNK, self.channels)
            lengths = jnp.minimum(CHUNK, length - CHUNK * jnp.arange(chunks))
            state, wet = lax.scan(self._chunk, state, (padded.swapaxes(1, 2), lengths))
            wet = wet.swapaxes(1, 2).reshape(chunks * CHUNK, self.channels)[:length]
        return wet, state

    def _chunk(self, state: CabState, x_and_length: tuple[Float[Array, "C T"], Int[Array, ""] | int]):
        """At most 64 samples, of which the first `length` count: they cross at most one boundary between shares."""
        x, length = x_and_length
        since = state.since
        window = jnp.concatenate([state.past, x], axis=1)
        y = self._head(window[:, PARTITION + 1 :], x.shape[1])

        edge = jnp.bitwise_and(-since, CHUNK - 1)  # samples from the chunk's start to the next boundary
        share = jnp.bitwise_and((since + edge) // CHUNK, SHARES - 1)
        due = edge < length
        fresh = due & (share == 0)  # a period begins
        spectrum, tail = lax.cond(fresh, self._period, _same_period, window, edge, state.sums, state.tail)
        # Rows are written whether or not a period begins, into the waste row if not: a `cond` would copy the ring.
        ring, waste = SHARES * self.group, (SHARES + 1) * self.group
        newest = jnp.where(fresh, jnp.mod(state.newest - 1, ring), state.newest)
        spectra = state.spectra
        for row in (jnp.where(fresh, newest, waste), jnp.where(fresh & (newest < self.group), ring + newest, waste)):
            spectra = lax.dynamic_update_slice_in_dim(spectra, spectrum[None], row, axis=0)
        sums = lax.cond(due, self._share, lambda spectra, newest, share, sums: sums, spectra, newest, share, state.sums)

        line = jnp.concatenate([state.tail, tail], axis=1)
        y = y + lax.dynamic_slice_in_dim(line, jnp.where(since == 0, PARTITION, since), x.shape[1], axis=1)
        since = jnp.bitwise_and(since + length, PARTITION - 1)
        past = lax.dynamic_slice_in_dim(window, length, 2 * PARTITION, axis=1)
        return CabState(since, past, spectra, newest, sums, tail), y

    def _head(self, near, length):
        """What the first P taps give, of the samples that they reach."""

        def row(channel, at, n, first, length):
            return lax.dynamic_slice(self.head, (channel, at + n, first), (1, 1, length))[0]

        pieces = []
        for at in range(0, near.shape[1], CHUNK):  # float32 adds up hundreds of products with a loud error
            shares = jnp.split(near[:, at : at + CHUNK], len(self.head))
            each = [by_rows(share, partial(row, channel, at), length) for channel, share in enumerate(shares)]
            pieces.append(jnp.concatenate(each))
        return sum(pieces[1:], pieces[0])

    def _period(self, window, edge, sums, _):
        """F(n), and the tail of the period that begins at the edge."""
        seen = lax.dynamic_slice_in_dim(window, edge, 2 * PARTITION, axis=1)
        spectrum = rfft(seen)
        return spectrum, irfft_end(sums + _product(spectrum, self.tail[0]))

    def _share(self, spectra, newest, share, sums):
        """One share more of the next period's tail spectrum; the first one starts from nothing."""
        first = share * self.group
        row = jnp.mod(newest + first, SHARES * self.group)

        def add(i, sums):
            past = lax.dynamic_index_in_dim(spectra, row + i, keepdims=False)
            return sums + _product(past, lax.dynamic_index_in_dim(self.tail, 1 + first + i, keepdims=False))

        return lax.fori_loop(0, self.group, add, jnp.where(share == 0, 0.0, sums))


def _same_period(window, edge, sums, tail):
    return jnp.zeros_like(sums), tail


def _product(a, b):
    """Of complex numbers held as [2, ...]."""
    return jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


def impulse_response(settings: Cab.Settings, sample_rate: int) -> Float[np.ndarray, "C L"]:
    """The IR that the settings name, as float64: mono or stereo, at `sample_rate`, trimmed, faded and levelled.

    Raises IRError naming the file and what to do about it.
    """
    path = ir_path(settings.ir)
    ir, rate = _read(path)
    if settings.trim:
        loud = np.abs(ir).max(axis=0)
        ir = ir[:, np.argmax(loud > SILENCE * loud.max()) :]
    if rate != sample_rate:
        import soxr

        # A response that is sampled more densely adds up more samples: keep its gain.
        ir = soxr.resample(ir.T, rate, sample_rate, quality="VHQ").T * (rate / sample_rate)
    longest = max(1, round(settings.length_ms * 1e-3 * sample_rate))
    if ir.shape[1] > longest:
        fade = min(longest, round(FADE_MS * 1e-3 * sample_rate))
        ir = ir[:, :longest].copy()
        ir[:, longest - fade :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 1) / fade)
    loud = np.abs(ir).max(axis=0)
    ir = ir[:, : np.flatnonzero(loud > UNHEARD * loud.max()).max(initial=0) + 1]
    if not settings.normalise:
        return ir
    gain = band_gain(ir, sample_rate)
    if gain < 1e-3 * np.sqrt(np.mean(np.sum(ir**2, axis=1))):
        raise IRError(f"{path}: nothing between {BAND_HZ[0]:g} and {BAND_HZ[1]:g} Hz; use it with normalise = false")
    return ir / gain


def band_gain(ir: Float[np.ndarray, "C L"], sample_rate: int) -> float:
    """The root of the mean of |H(f)|^2 over channels and frequencies from 80 Hz to 5 kHz."""
    size = 1 << max(ir.shape[1] - 1, 2**14 - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    band = (frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1])
    return float(np.sqrt(np.mean(np.abs(np.fft.rfft(ir, size)[:, band]) ** 2)))


def ir_path(name: str) -> Path:
    """The file that a setting `ir` names: a built-in response by its bare name, else a path."""
    name = name or DEFAULT_IR
    path = Path(name).expanduser()
    if path.suffix == "" and path.name == name and not path.exists():
        built_in = assets_folder() / "irs"
        path = built_in / f"{name}.wav"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in built_in.glob("*.wav")))
            raise IRError(f"{name}: no built-in impulse response has this name; choose one of {known}, or give a file")
    return path


def _read(path: Path) -> tuple[Float[np.ndarray, "C L"], int]:
    """The samples of an IR file and their rate, checked."""
    import soundfile

    if not path.is_file():
        raise IRError(f"{path}: no such file; choose another impulse response")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            samples = file.read(LONGEST_READ_S * rate, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise IRError(f"{path}: not an audio file that can be read ({error}); save it as WAV") from error
    if samples.shape[1] > 2:
        raise IRError(f"{path}: has {samples.shape[1]} channels; save it as mono or stereo")
    if not np.isfinite(samples).all():
        raise IRError(f"{path}: holds samples that are not numbers; export it again")
    if not np.any(samples):
        raise IRError(f"{path}: holds {'only silence' if len(samples) else 'no samples'}; export it again")
    return samples.T, rate
