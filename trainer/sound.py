"""Sound files as arrays: any rate, any format that libsndfile reads, any number of channels."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import soundfile

from .config import TrainerError

Channel = str | int  # "auto", "left", "right", "mix", or a channel's number from 0
LARGEST = 1 << 31  # bytes of one file as float32
ALIKE = 1e-3  # channels that differ by less than this share of their size are one


class Recording(NamedTuple):
    """A sound file's content."""

    samples: np.ndarray  # [N, C] float32
    rate: int
    name: str = ""
    bits: int = 32  # of a sample in the file


def read(path: str) -> Recording:
    """A whole file. Raises TrainerError."""
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels * 4 > LARGEST:
                raise TrainerError(f"{path}: {file.frames / file.samplerate / 3600:.1f} hours are too much; cut it")
            bits = {"PCM_16": 16, "PCM_24": 24, "PCM_S8": 8, "PCM_U8": 8}.get(file.subtype, 32)
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except (OSError, soundfile.SoundFileError) as error:
        raise unread(path, error) from None
    if len(samples) == 0:
        raise TrainerError(f"{path}: holds no sound")
    if not np.isfinite(samples).all():
        raise TrainerError(f"{path}: holds samples that are not numbers; export it again")
    return Recording(samples, rate, path, bits)


def channels(path: str) -> int:
    """How many channels a file has. Raises TrainerError."""
    try:
        return soundfile.info(path).channels
    except (OSError, soundfile.SoundFileError) as error:
        raise unread(path, error) from None


def unread(path: str, error: Exception) -> TrainerError:
    """What to say of a file that is no sound, or none."""
    if not os.path.exists(path):
        return TrainerError(f"{path}: there is no such file; choose it again")
    why = str(getattr(error, "error_string", error)).rstrip(".")
    return TrainerError(f"{path}: cannot be read as sound: {why}; export it as WAV, FLAC or AIFF")


def write(path: str, samples: np.ndarray, rate: int) -> None:
    """A 32-bit float WAV, whole or not at all. Raises TrainerError."""
    unfinished = f"{path}.part"
    try:
        soundfile.write(unfinished, samples, rate, subtype="FLOAT", format="WAV")
        os.replace(unfinished, path)
    except (OSError, soundfile.SoundFileError) as error:
        raise TrainerError(f"{path}: cannot be written: {error}") from None


def mono(recording: Recording, channel: Channel = "auto") -> np.ndarray:
    """One channel `[N]`: the one asked for, the mean with "mix", else the first one that is not silent."""
    x = recording.samples
    count = x.shape[1]
    if channel == "mix":
        return x.mean(axis=1)
    if channel == "auto":
        peaks = np.abs(x).max(axis=0)
        return x[:, int(np.argmax(peaks > 0.01 * peaks.max()))].copy()
    number = {"left": 0, "right": 1}.get(channel, channel) if isinstance(channel, str) else channel
    if not isinstance(number, int):
        raise TrainerError(f"channel {channel!r}: must be auto, left, right, mix or a number from 0")
    if not 0 <= number < count:
        raise TrainerError(f"{recording.name}: has no channel {channel}; it has {count}")
    return x[:, number].copy()


def sides_differ(recording: Recording) -> bool:
    """Whether a recording of several channels is more than one signal many times over."""
    x = recording.samples
    if x.shape[1] == 1:
        return False
    return bool(np.abs(x - x[:, :1]).max() > ALIKE * max(float(np.abs(x).max()), 1e-9))


def resample(x: np.ndarray, rate: float, to: float) -> np.ndarray:
    """`[N]` or `[N, C]` at another rate, without delay."""
    import soxr

    return x if rate == to else soxr.resample(x, rate, to, quality="VHQ")
