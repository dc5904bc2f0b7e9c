"""Losses: plain functions `(y, target) -> scalar` of the effect's output and the recording, float32 `[..., T]`.

`LOSSES` has them by name; `weighted` adds them up. Sources: ESR, DC and pre-emphasis as in Wright, Damskaegg and
Valimaki (DAFx 2019) and Wright and Valimaki (ICASSP 2020); the spectral losses give auraloss's values (Steinmetz and
Reiss, DMRN 2020). A ratio is taken over everything given, so one call on a batch is not the mean of calls on its items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .config import TrainerError

Signal = Float[Array, "*batch T"]
Loss = Callable[[Signal, Signal], Float[Array, ""]]
Resolution = tuple[int, int, int]  # samples of the FFT, of the hop and of the window

FLOOR = 1e-5  # of a mean square: what silence counts as in a ratio (100 dB below a full-scale square wave)
SMALLEST_POWER = 1e-8  # of a bin

DEFAULT: tuple[Resolution, ...] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # auraloss
STEER: tuple[Resolution, ...] = tuple((n, n // 2, n) for n in (32, 128, 512, 2048))  # steerable-nafx


# --- in time ----------------------------------------------------------------------------------------------------------


def esr(y: Signal, target: Signal):
    """Error-to-signal ratio: 0 is perfect, 1 as bad as silence, 4 the target upside down."""
    return jnp.mean((target - y) ** 2) / (jnp.mean(target**2) + FLOOR)


def esr_each(y: Signal, target: Signal):
    """The mean of each signal's own ESR: a quiet position of a knob counts as much as a loud one."""
    each = jnp.mean((target - y) ** 2, axis=-1) / (jnp.mean(target**2, axis=-1) + FLOOR)
    return jnp.mean(each)


def dc(y: Signal, target: Signal):
    """Squared difference of the means over time, over the target's power."""
    return jnp.mean(jnp.mean(target - y, axis=-1) ** 2) / (jnp.mean(target**2) + FLOOR)


def mae(y: Signal, target: Signal):
    """Mean absolute error."""
    return jnp.mean(jnp.abs(target - y))


def mse(y: Signal, target: Signal):
    """Mean squared error."""
    return jnp.mean((target - y) ** 2)


def l1_relative(y: Signal, target: Signal):
    """Mean absolute error over the target's mean magnitude: hears polarity, whatever the level."""
    return mae(y, target) / (jnp.mean(jnp.abs(target)) + FLOOR)


# --- in frequency -----------------------------------------------------------------------------------------------------


def stft_loss(
    y: Signal,
    target: Signal,
    resolution: Resolution = (1024, 256, 1024),
    *,
    convergence: float = 1.0,
    log: float = 1.0,
    linear: float = 0.0,
):
    """Spectral convergence + mean distance of log magnitudes (+ of magnitudes), each times its weight."""
    found, wanted = magnitudes(y, *resolution), magnitudes(target, *resolution)
    total = jnp.zeros(())
    if convergence:
        ratio = jnp.sum((wanted - found) ** 2) / jnp.sum(wanted**2)
        total += convergence * jnp.sqrt(jnp.maximum(ratio, 1e-16))  # a root has no slope at nothing
    if log:
        total += log * jnp.mean(jnp.abs(jnp.log(found) - jnp.log(wanted)))
    if linear:
        total += linear * jnp.mean(jnp.abs(found - wanted))
    return total


def mr_stft(y: Signal, target: Signal, sizes: tuple[Resolution, ...] = DEFAULT):
    """Multi-resolution STFT loss: the mean of `stft_loss` over the resolutions. It is deaf to polarity."""
    return sum((stft_loss(y, target, size) for size in sizes), jnp.zeros(())) / len(sizes)


def magnitudes(x: Signal, fft: int, hop: int, window: int) -> Float[Array, "*batch F bins"]:
    """|STFT|: frames centred on multiples of `hop`, ends mirrored, a periodic Hann window in the frame's middle."""
    if x.shape[-1] <= fft // 2:
        raise TrainerError(f"{x.shape[-1]} samples are too few for an FFT of {fft}; use longer pieces or smaller sizes")
    frames = _frames(jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(fft // 2, fft // 2)], mode="reflect"), fft, hop)
    shape = (1,) * (frames.ndim - 1) + (fft,)
    spectrum = jnp.fft.rfft(frames * jnp.asarray(_hann(fft, window)).reshape(shape))
    return jnp.sqrt(jnp.maximum(spectrum.real**2 + spectrum.imag**2, SMALLEST_POWER))


def _frames(x: Signal, length: int, hop: int) -> Float[Array, "*batch F length"]:
    """Frames as shifted slices of rows of `hop` samples, so that the derivative is a few additions and no scatter."""
    count = 1 + (x.shape[-1] - length) // hop
    rows = -(-length // hop)
    whole = (count + rows - 1) * hop
    ends = [(0, 0)] * (x.ndim - 1) + [(0, max(0, whole - x.shape[-1]))]
    x = jnp.pad(x, ends)[..., :whole].reshape(*x.shape[:-1], count + rows - 1, hop)
    return jnp.concatenate([x[..., row : row + count, :] for row in range(rows)], axis=-1)[..., :length]


@lru_cache
def _hann(fft: int, window: int) -> np.ndarray:
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    before = (fft - window) // 2
    return np.pad(shape, (before, fft - window - before)).astype(np.float32)


# --- pre-emphasis -----------------------------------------------------------------------------------------------------


def pre_emphasis(x: Signal, coefficient: float = 0.85):
    """First-order high-pass `x[n] - coefficient x[n - 1]`, a zero before the first sample."""
    return fir(x, (1.0, -coefficient))


def pre_emphasis_low_passed(x: Signal, coefficient: float = 0.85):
    """The high-pass, then `x[n] + coefficient x[n - 1]`: near to A-weighting at both ends of the band."""
    return fir(pre_emphasis(x, coefficient), (1.0, coefficient))


def a_weighting(x: Signal, rate: int = 44100):
    """IEC 61672's A-weighting, a linear-phase filter of 2.3 ms: it delays, but both sides alike."""
    return fir(x, _a_taps(rate))


def fir(x: Signal, taps) -> Signal:
    """A causal filter; silence before the first sample."""
    taps = np.asarray(taps, np.float32)
    if len(taps) <= 4:
        ends = [(0, 0)] * (x.ndim - 1)
        shifted = (jnp.pad(x, [*ends, (n, 0)])[..., : x.shape[-1]] for n in range(len(taps)))
        return sum((tap * one for tap, one in zip(taps, shifted, strict=True)), jnp.zeros(()))
    flat = x.reshape(-1, 1, x.shape[-1])
    kernel = jnp.asarray(taps[::-1].copy())[None, None]
    return lax.conv_general_dilated(flat, kernel, (1,), [(len(taps) - 1, 0)]).reshape(x.shape)


@lru_cache
def _a_taps(rate: int) -> np.ndarray:
    """101 taps at 44.1 kHz: the inverse transform of the wanted gains under a Hann window; 0 dB at 1 kHz."""
    taps = 2 * round(50 * rate / 44100) + 1
    hz = np.fft.rfftfreq(16384, 1 / rate)
    poles = (hz**2 + 20.6**2) * np.sqrt((hz**2 + 107.7**2) * (hz**2 + 737.9**2)) * (hz**2 + 12194.0**2)
    gains = 12194.0**2 * hz**4 / poles
    response = np.roll(np.fft.irfft(gains), taps // 2)[:taps] * np.hanning(taps + 2)[1:-1]
    at_1k = np.abs(np.exp(-2j * np.pi * 1000 / rate * np.arange(taps)) @ response)
    return (response / at_1k).astype(np.float32)


# --- by name ----------------------------------------------------------------------------------------------------------

LOSSES: dict[str, Loss] = {
    "esr": esr,
    "dc": dc,
    "esr_each": esr_each,
    "mae": mae,
    "mse": mse,
    "l1_relative": l1_relative,
    "stft": stft_loss,
    "mr_stft": mr_stft,
    "mr_stft_steer": partial(mr_stft, sizes=STEER),
}
# What pre-emphasis goes before: DC would be filtered away by it.
EMPHASISED = ("esr", "esr_each", "mae", "mse", "l1_relative")
PRE_EMPHASIS: dict[str, Callable[[Signal], Signal]] = {
    "high_pass": pre_emphasis,
    "low_passed": pre_emphasis_low_passed,
    "a_weighting": a_weighting,
}


def weighted(weights: Mapping[str, float], preemphasis: str | float | None = None, rate: int = 44100) -> Loss:
    """A sum of losses by name, as in `weighted({"esr": 0.75, "dc": 0.25}, preemphasis=0.85)`.

    `preemphasis` filters both signals before the losses in `EMPHASISED`: a coefficient of the high-pass, or a name in
    `PRE_EMPHASIS`. Raises TrainerError for a name that is none.
    """
    for name in weights:
        if name not in LOSSES:
            raise TrainerError(f"loss {name!r}: unknown; there are: {', '.join(LOSSES)}")
    if not any(weights.values()):
        raise TrainerError("loss: no term has a weight; as in { esr = 0.75, dc = 0.25 }")
    emphasise = _emphasis(preemphasis, rate)
    terms = tuple((LOSSES[name], float(weight), name in EMPHASISED) for name, weight in weights.items() if weight)

    def loss(y: Signal, target: Signal):
        sharp = (emphasise(y), emphasise(target)) if any(emphasised for _, _, emphasised in terms) else (y, target)
        values = [weight * term(*(sharp if emphasised else (y, target))) for term, weight, emphasised in terms]
        return sum(values, jnp.zeros(()))

    return loss


def _emphasis(name: str | float | None, rate: int) -> Callable[[Signal], Signal]:
    if name is None or name == "none":
        return lambda x: x
    if isinstance(name, str):
        if name not in PRE_EMPHASIS:
            raise TrainerError(f"pre-emphasis {name!r}: unknown; there are: none, {', '.join(PRE_EMPHASIS)}")
        return partial(a_weighting, rate=rate) if name == "a_weighting" else PRE_EMPHASIS[name]
    if not 0 <= name < 1:
        raise TrainerError(f"pre-emphasis {name}: must be from 0 to below 1")
    return partial(pre_emphasis, coefficient=float(name))
