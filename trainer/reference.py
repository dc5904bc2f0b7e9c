"""Known effects to make wet recordings with, and how their amount follows a knob.

An effect is named as in `drive`, `low_pass`, `box:reverb`, `command:sox {in} {out} overdrive {amount}` or
`pedalboard:Chorus` (an optional extra); its amount is 0..1.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import soundfile

from jaxmodels import apply
from jaxmodels.boxes import BOXES, make
from jaxmodels.effect import default_positions, positions

from .config import Data, TrainerError
from .data import Pair
from .sound import unread

Effect = Callable[[np.ndarray, int, float], np.ndarray]  # (signal [N], rate, amount) -> [N]

GREATEST_DRIVE_DB = 40.0
LOWEST_HZ, HIGHEST_HZ = 200.0, 20000.0
EMPHASIS = 0.85
COMMAND_SECONDS = 600.0
POSITIONS = 11  # of the knob, evenly, in the recordings of a strategy that is a curve
KNOB = "amount"


# --- how the amount follows the knob ----------------------------------------------------------------------------------

STRATEGIES: dict[str, Callable[[float], float]] = {
    "linear": lambda p: p,
    "inverse": lambda p: 1 - p,
    "v": lambda p: abs(2 * p - 1),
    "sin": lambda p: (1 - np.cos(4 * np.pi * p)) / 2,
}
RANDOM = {"random": 5, "random-many": 50}  # so many positions of the knob, each with an amount drawn by the seed


def table(strategy: str, seed: int) -> list[tuple[float, float]]:
    """Positions of the knob, and the amount at each. Raises TrainerError."""
    if strategy in RANDOM:
        count = RANDOM[strategy]
        amounts = np.random.default_rng(seed).uniform(0, 1, count)
        return [(n / (count - 1), float(amount)) for n, amount in enumerate(amounts)]
    if strategy not in STRATEGIES:
        raise TrainerError(f"strategy {strategy!r}: must be one of {', '.join([*STRATEGIES, *RANDOM])}")
    return [(p, float(STRATEGIES[strategy](p))) for p in (n / (POSITIONS - 1) for n in range(POSITIONS))]


def pairs(data: Data, strategy: str, seed: int, most: int = 0) -> list[Pair]:
    """The dry file through the effect, once for each position of the knob `amount`, or at `most` of them."""
    try:
        signal, rate = soundfile.read(data.dry, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise unread(data.dry, error) from None
    dry, effect = signal[:, 0].copy(), named(data.effect)
    made = {}
    found = []
    rows = table(strategy, seed)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(most or len(rows), len(rows))).round().astype(int))
    for position, amount in (rows[n] for n in chosen):
        if amount not in made:
            made[amount] = np.asarray(effect(dry, rate, amount), np.float32)
        name = f"{data.effect} {amount:.3f} at {position:.3f}"
        found.append(Pair(dry, made[amount], rate, {KNOB: position}, name=name, piece=data.piece or 0))
    return found


# --- effects ----------------------------------------------------------------------------------------------------------


def named(name: str) -> Effect:
    """An effect by its name. Raises TrainerError listing what there is."""
    kind, _, rest = name.partition(":")
    if name in EFFECTS:
        return EFFECTS[name]
    if kind in WAYS and rest:
        return WAYS[kind](rest)
    raise TrainerError(f"effect {name!r}: must be {', '.join(EFFECTS)}, or {', '.join(f'{way}:...' for way in WAYS)}")


def drive(x: np.ndarray, rate: int, amount: float) -> np.ndarray:
    """A soft clipper of 0 to 40 dB between a pre-emphasis and its inverse; half of the decibels are taken back."""
    gain = 10 ** (GREATEST_DRIVE_DB * amount / 20)
    sharp = x.astype(np.float64)
    sharp[1:] -= EMPHASIS * x[:-1]
    clipped = np.tanh(gain * sharp)
    return _one_pole(clipped, EMPHASIS) / np.sqrt(gain)


def _one_pole(x: np.ndarray, pole: float) -> np.ndarray:
    """`y[n] = x[n] + pole y[n - 1]`, by the impulse response, which dies away."""
    length = int(np.ceil(np.log(1e-9) / np.log(pole)))
    return np.convolve(x, pole ** np.arange(length))[: len(x)]


def low_pass(x: np.ndarray, rate: int, amount: float) -> np.ndarray:
    """A second-order low-pass, 20 kHz at 0 down to 200 Hz at 1, equal turns equal ratios."""
    cutoff = HIGHEST_HZ * (LOWEST_HZ / HIGHEST_HZ) ** amount
    box = make("low_pass", sample_rate=rate)
    return np.asarray(apply(box, jnp.asarray(x), positions(box, {"cutoff": cutoff})))


def box(text: str) -> Effect:
    """One of our own boxes, its first knob (or the named one, as in `reverb.mix`) at the amount."""
    kind, _, knob = text.partition(".")
    if kind not in BOXES:
        raise TrainerError(f"effect box:{text}: no box is called {kind!r}; there are: {', '.join(BOXES)}")
    names = [each.name for each in make(kind).knobs]
    if knob and knob not in names:
        raise TrainerError(f"effect box:{text}: {kind} has no knob {knob!r}; it has: {', '.join(names)}")

    def run(x, rate, amount):
        made = make(kind, sample_rate=rate)
        turned = default_positions(made)
        turned[names.index(knob) if knob else 0] = amount
        return np.asarray(apply(made, jnp.asarray(x), turned))

    return run


def command(text: str) -> Effect:
    """Any program that reads one sound file and writes another: `{in}`, `{out}`, `{amount}`; run without a shell."""
    words = shlex.split(text)
    for wanted in ("{in}", "{out}"):
        if not any(wanted in word for word in words):
            raise TrainerError(f"effect command:{text}: there is no {wanted} in it")

    def run(x, rate, amount):
        with tempfile.TemporaryDirectory() as folder:
            dry, wet = Path(folder, "in.wav"), Path(folder, "out.wav")
            soundfile.write(dry, x, rate, subtype="FLOAT")
            places = {"{in}": str(dry), "{out}": str(wet), "{amount}": f"{amount:.6f}"}
            line = []
            for word in words:
                for place, value in places.items():
                    word = word.replace(place, value)
                line.append(word)
            try:
                done = subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise TrainerError(f"effect command:{text}: {error}") from None
            if done.returncode:
                said = done.stderr.strip()[-300:]
                raise TrainerError(f"effect command:{text}: ended with {done.returncode}: {said}")
            try:
                y, its_rate = soundfile.read(wet, dtype="float32", always_2d=True)
            except (OSError, soundfile.SoundFileError) as error:
                raise TrainerError(f"effect command:{text}: left no sound in {{out}}: {error}") from None
        if its_rate != rate or len(y) < len(x):
            raise TrainerError(f"effect command:{text}: {len(y)} samples at {its_rate} Hz for {len(x)} at {rate} Hz")
        return y[: len(x), 0]

    return run


def pedalboard(text: str) -> Effect:
    """One of pedalboard's effects, as in `Chorus.mix`: its first number, or the named one, at the amount 0..1."""
    try:
        import pedalboard  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise TrainerError(f"effect pedalboard:{text}: pedalboard is not installed (pip install pedalboard)") from None
    kind, _, setting = text.partition(".")
    cls = getattr(pedalboard, kind, None)
    if cls is None or not setting:
        raise TrainerError(f"effect pedalboard:{text}: must name a plugin and a setting, as in Chorus.mix")

    def run(x, rate, amount):
        return np.asarray(cls(**{setting: amount})(x[None], rate)[0])

    return run


EFFECTS: dict[str, Effect] = {"drive": drive, "low_pass": low_pass}
WAYS: dict[str, Callable[[str], Effect]] = {"box": box, "command": command, "pedalboard": pedalboard}
