"""Recordings as training material: a dry and a wet file, cut so that what is tested was never learned from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soundfile

from .config import TrainerError


class Pair(NamedTuple):
    """The same passage before and after the device, mono float32 of equal length."""

    dry: np.ndarray
    wet: np.ndarray
    rate: int


def read_pair(dry_path: str, wet_path: str) -> Pair:
    """Both files, the first channel of each, cut to the shorter. Raises TrainerError."""
    (dry, rate), (wet, wet_rate) = _read(dry_path), _read(wet_path)
    if rate != wet_rate:
        raise TrainerError(f"{wet_path}: is at {wet_rate} Hz and {dry_path} at {rate} Hz; convert one of them")
    samples = min(len(dry), len(wet))
    if samples < rate:
        raise TrainerError(f"{dry_path}: {samples / rate:.2f} s in common; at least one second is needed")
    for path, signal in ((dry_path, dry), (wet_path, wet)):
        if np.abs(signal[:samples]).max() < 1e-4:
            raise TrainerError(f"{path}: is silent")
    return Pair(dry[:samples], wet[:samples], rate)


def _read(path: str) -> tuple[np.ndarray, int]:
    try:
        signal, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise TrainerError(f"{path}: cannot be read as sound: {error}") from None
    if not np.isfinite(signal).all():
        raise TrainerError(f"{path}: holds samples that are not numbers; export it again")
    return signal[:, 0].copy(), rate


def split(pair: Pair, held_out: float = 0.2) -> tuple[Pair, Pair]:
    """Training part and validation part: the end of the recording is never learned from."""
    at = round(len(pair.dry) * (1 - held_out))
    return Pair(pair.dry[:at], pair.wet[:at], pair.rate), Pair(pair.dry[at:], pair.wet[at:], pair.rate)


def segments(pair: Pair, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole segments `[N, length, 1]` side by side; what is left over at the end is dropped."""
    count = len(pair.dry) // length
    if count == 0:
        raise TrainerError(f"a recording of {len(pair.dry)} samples is shorter than one segment of {length}")
    cut = [signal[: count * length].reshape(count, length, 1) for signal in (pair.dry, pair.wet)]
    return cut[0], cut[1]
