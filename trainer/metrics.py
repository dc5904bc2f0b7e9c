"""How far an effect is from its recording, in the figures of the literature; numpy, one number per file.

`compare` gives them all; the rest are measurements of one signal or one effect (`play` is a function `[N] -> [N]`).
"""

from __future__ import annotations

import numpy as np


def esr(y: np.ndarray, target: np.ndarray) -> float:
    """Error energy over target energy, with nothing added to either."""
    y, target = np.asarray(y, np.float64), np.asarray(target, np.float64)
    return float(np.sum((target - y) ** 2) / max(np.sum(target**2), 1e-300))


def compare(y: np.ndarray, target: np.ndarray, rate: int) -> dict[str, float]:
    """esr, mae, stft, mr_stft, lufs_difference (dB, positive: louder than the target), polarity (+1 or -1)."""
    raise NotImplementedError
