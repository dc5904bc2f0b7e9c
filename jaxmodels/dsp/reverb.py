"""Reverb: a feedback delay network, after Jot and Chaigne (AES convention 90, 1991).

    in -> predelay -> 4 allpass diffusers -> low-pass -> 16 lines -> signs -> out
                                                     ^-- mixing <- damping <--|

The mixing is orthogonal, and each line loses what its length asks for, so that all of them die away together: after
T60 they are down by 60 dB at 700 Hz, and after a part of that time, which the damping sets, at 6 kHz. The lines are
read at slowly moving places (a fraction of a millisecond), which breaks up the ringing of a small room.

Every delay (lines, predelays, diffusers) is a row of one past. None is shorter than a chunk, so all that a chunk needs
has been written before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

from .. import ring
from ..effect import Knob, default_positions, when_moving

LINE_MS = (31.3, 34.1, 37.3, 39.7, 43.1, 46.9, 49.9, 54.1, 58.7, 61.9, 66.1, 70.3, 74.9, 80.3, 86.9, 95.3)  # at size 1
LINES = len(LINE_MS)
SMALLEST = 0.2  # length of the lines at size 0, relative to size 1
DIFFUSER_MS = ((2.87, 3.79, 5.31, 7.93), (3.01, 3.61, 5.57, 7.61))  # left and right
STAGES = len(DIFFUSER_MS[0])
DIFFUSION = 0.65  # allpass coefficient
PREDELAY_MS = 200.0
WANDER_MS = 0.3  # how far the reading places move at full modulation, to either side
WANDER_HZ = (0.31, 1.13)  # of the slowest and the fastest line
GLIDE = 0.2  # samples a sample: how fast a delay follows its knob, a pitch bend of three semitones
MID_HZ, HIGH_HZ = 700.0, 6000.0  # where T60 is the decay knob, and where it is the damping's part of that
DARKEST = 0.3  # that part at damping 1
INPUT_HZ = (20000.0, 1250.0)  # of the low-pass before the lines, at damping 0 and 1
CHUNK = 128  # samples done at once, at most
TAPS = (-1, 0, 1, 2)  # of the interpolation


class ReverbState(NamedTuple):
    """What the reverb remembers between blocks; N = 16 + 5 C delays: the lines, the predelays, the diffusers."""

    delays: ring.Past  # [N, H]
    lags: Float[Array, " N"]  # their present lengths in samples
    wander: Int[Array, " 16"]  # samples since the modulation of each line began its period
    damped: Float[Array, " 16+C"]  # memory of the damping filters and the input's low-pass


class Reverb(nnx.Module):
    """Rooms and halls: sixteen delay lines in an orthogonal feedback loop, T60 0.1 to 10 s.

    A stereo rack hears two decorrelated sides, a mono rack one of them. The level of the wet sound depends little on
    the decay: steady noise comes out as loud as it went in, around 700 Hz. A turned size or predelay glides like tape.
    """

    @dataclass(frozen=True)
    class Settings:
        """Nothing to set."""

    knobs = (
        Knob("size", "", 0.0, 1.0, 0.5),
        Knob("decay", "s", 0.1, 10.0, 1.5, "log"),
        Knob("damping", "", 0.0, 1.0, 0.5),
        Knob("predelay", "ms", 0.0, PREDELAY_MS, 0.0),
        Knob("modulation", "", 0.0, 1.0, 0.3),
        Knob("mix", "", 0.0, 1.0, 0.25),
    )
    sample_rate: int | None = None
    latency = 0
    receptive_field: int | None = None

    def __init__(self, settings: Settings = Settings(), *, sample_rate: int = 48000, channels: int = 1):
        self.settings, self.channels, self.rate = settings, channels, sample_rate
        self.wander = WANDER_MS * 1e-3 * sample_rate  # samples
        sides = [DIFFUSER_MS[c % len(DIFFUSER_MS)] for c in range(channels)]
        self.diffusers = tuple(round(side[stage] * 1e-3 * sample_rate) for stage in range(STAGES) for side in sides)
        shortest_line = SMALLEST * LINE_MS[0] * 1e-3 * sample_rate - self.wander
        self.chunk = min(CHUNK, min(self.diffusers) - 1, int(shortest_line) - 1)

        rng = np.random.default_rng(16)
        self.periods = jnp.asarray(rng.permutation(sample_rate / np.geomspace(*WANDER_HZ, LINES)), jnp.int32)
        hadamard = np.ones((1, 1))
        while len(hadamard) < LINES:
            hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
        mixing = rng.permutation(hadamard) * rng.choice([-1, 1], (LINES, 1))
        signs = rng.permutation(hadamard)[np.arange(2 * channels) % LINES] * rng.choice([-1, 1], LINES)
        # Rows: what goes back into the lines from each line, then what goes into them from each channel.
        mixing = np.concatenate([mixing, signs[:channels] / math.sqrt(channels)]) / math.sqrt(LINES)
        self.mixing = jnp.asarray(mixing, jnp.float32)
        self.outputs = jnp.asarray(signs[channels:].T, jnp.float32)

    def initial_state(self, knobs=None):
        knobs = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        lags = self._targets(knobs)[: LINES + self.channels]
        line = LINE_MS[-1] * 1e-3 * self.rate + self.wander
        longest = math.ceil(max(line, PREDELAY_MS * 1e-3 * self.rate + self.chunk + 1)) + len(TAPS)
        return ReverbState(
            delays=ring.silence(LINES + self.channels + len(self.diffusers), longest),
            lags=jnp.concatenate([lags, jnp.asarray(self.diffusers, jnp.float32)]),
            wander=jnp.arange(LINES, dtype=jnp.int32) * 7919 % self.periods,
            damped=jnp.zeros(LINES + self.channels),
        )

    def step(self, state, x, knobs):
        length, chunk = x.shape[0], self.chunk
        # Row by row: all at once is a little faster where a knob moves, and takes twice as long to compile.
        targets = when_moving(lambda rows: lax.map(self._targets, rows), knobs)
        inputs = x, targets, knobs[:, 4:5]
        if length <= chunk:
            state, wet = self._chunk(state, inputs)
        else:
            whole = length // chunk * chunk
            plain = isinstance(state.delays, ring.History)
            state = ring.pack(state, chunk) if plain else state
            cut = jax.tree.map(lambda a: a[:whole].reshape(-1, chunk, a.shape[1]), inputs)
            state, wet = lax.scan(self._chunk, state, cut)
            wet = wet.reshape(whole, self.channels)
            if whole < length:
                state, rest = self._chunk(state, jax.tree.map(lambda a: a[whole:], inputs))
                wet = jnp.concatenate([wet, rest])
            state = ring.unpack(state) if plain else state
        mix = knobs[:, 5:6]
        return x * (1.0 - mix) + wet * mix, state

    def _targets(self, knobs: Float[Array, " K"]) -> Float[Array, " M"]:
        """What the knobs ask for, side by side: see `_split`."""
        size, decay, damping, predelay = (self.knobs[i].value(knobs[i]) for i in range(4))
        lines = jnp.exp(math.log(SMALLEST) * (1.0 - size)) * jnp.asarray(LINE_MS) * (1e-3 * self.rate)
        predelay = jnp.repeat(predelay * (1e-3 * self.rate) + (self.chunk + 1), self.channels)
        per_sample = -3.0 * math.log(10.0) / (decay * self.rate)  # log of the gain for each sample of delay
        gain, pole = self._damping(lines * per_sample, damping)
        bright, dark = (math.log(hz / self.rate) for hz in INPUT_HZ)
        input_pole = jnp.exp(-2.0 * math.pi * jnp.exp(bright + (dark - bright) * damping))
        pole = jnp.concatenate([pole, jnp.repeat(input_pole, self.channels)])
        gain = jnp.concatenate([gain, jnp.repeat(1.0 - input_pole, self.channels)])
        # A diffuser rings too: by itself no longer than half of the decay.
        ringing = 2.0 * per_sample * jnp.asarray(self.diffusers, jnp.float32)
        diffusion = jnp.minimum(DIFFUSION, jnp.exp(ringing))
        level = jnp.sqrt(-jnp.expm1(2.0 * per_sample * lines.mean()))[None]
        return jnp.concatenate([jnp.round(lines), jnp.round(predelay), gain, pole, diffusion, level])

    def _split(self, targets):
        """Lags of lines and predelays, gain and pole of lines and inputs, diffusion, level."""
        rows = LINES + self.channels
        return jnp.split(targets, np.cumsum([rows, rows, rows, len(self.diffusers)]), axis=1)

    def _damping(self, log_gain, damping):
        """Filters y = pole y + gain x with the wanted gain at 700 Hz and at 6 kHz.

        The pole p follows from |1 - p|^2 = r^2 |1 - p exp(-jw)|^2, r being the gain at w relative to that at 0 Hz.
        """
        ratio = jnp.exp(math.log(DARKEST) * damping)
        r2 = jnp.maximum(jnp.exp(2.0 * log_gain * (1.0 / ratio - 1.0)), 1e-3)
        mid, high = (math.cos(2 * math.pi * min(f, 0.4 * self.rate) / self.rate) for f in (MID_HZ, HIGH_HZ))
        b = (1.0 - r2 * high) / jnp.maximum(1.0 - r2, 1e-6)
        pole = 1.0 / (b + jnp.sqrt(b**2 - 1.0))
        at_mid = (1.0 - pole) / jnp.sqrt(1.0 - 2.0 * pole * mid + pole**2)
        # What the filter takes away at 700 Hz is given back, but low notes must die too: at most twice as late.
        gain = jnp.minimum(jnp.exp(log_gain) / at_mid, jnp.exp(0.5 * log_gain))
        return gain * (1.0 - pole), pole

    def _chunk(self, state: ReverbState, inputs):
        """At most `chunk` samples: what the delays give, and what goes into them."""
        x, targets, modulation = inputs
        length, channels = x.shape
        lags, gain, pole, diffusion, level = self._split(targets)

        def glide(present, wanted):
            present = present + jnp.clip(wanted - present, -GLIDE, GLIDE)
            return present, present

        turned, lags = lax.scan(glide, state.lags[: LINES + channels], lags)
        ticks = jnp.arange(length)[:, None]
        wander = state.wander[None] + ticks
        wander = jnp.where(wander >= self.periods[None], wander - self.periods[None], wander)
        u = 2.0 * wander.astype(jnp.float32) / self.periods[None].astype(jnp.float32) - 1.0
        swing = self.wander * modulation * (4.0 * u * (1.0 - jnp.abs(u)))  # parabolas, close to a sine
        fixed = jnp.broadcast_to(state.lags[None, LINES + channels :], (length, len(self.diffusers)))
        lags = jnp.concatenate([lags[:, :LINES] + swing, lags[:, LINES:], fixed], axis=1)
        heard = _read(state.delays, lags)

        signal, diffused = heard[:, LINES : LINES + channels], []
        for stage in range(STAGES):
            mine = slice(stage * channels, (stage + 1) * channels)
            g, late = diffusion[:, mine], heard[:, LINES + channels :][:, mine]
            diffused.append(signal + g * late)
            signal = late - g * diffused[-1]

        def damp(memory, pole_and_input):
            memory = pole_and_input[0] * memory + pole_and_input[1]
            return memory, memory

        undamped = jnp.concatenate([heard[:, :LINES], signal], axis=1)
        damped, flow = lax.scan(damp, state.damped, (pole, gain * undamped))
        block = jnp.concatenate([flow @ self.mixing, x, *diffused], axis=1)
        delays = ring.extend(state.delays, block.T).after
        after = wander[-1] + 1
        wander = jnp.where(after >= self.periods, 0, after)
        turned = jnp.concatenate([turned, state.lags[LINES + channels :]])
        return ReverbState(delays, turned, wander, damped), heard[:, :LINES] @ self.outputs * level


def _read(past: ring.Past, lags: Float[Array, "T N"]) -> Float[Array, "T N"]:
    """The rows as they were `lags` samples before each sample of the next block, by third-order Lagrange interpolation.

    No lag may be shorter than the block and one sample more.
    """
    if isinstance(past, ring.Ring):
        signal, next_column, size = past.buffer, past.head, past.size
    else:
        signal, next_column, size = past.past, past.past.shape[1], 0
    whole = jnp.floor(lags)
    newest = next_column + jnp.arange(len(lags))[:, None] - whole.astype(jnp.int32)
    row = jnp.arange(lags.shape[1])[None] * signal.shape[1]
    flat = signal.reshape(-1)
    taps = []
    for tap in TAPS:
        column = newest - tap
        column = jnp.where(column < 0, column + size, column)
        taps.append(flat.at[row + column].get(mode="promise_in_bounds"))
    part = lags - whole
    a, b, c = part + 1.0, part - 1.0, part - 2.0
    return (b * c) * (0.5 * a * taps[1] - part * taps[0] / 6.0) + (a * part) * (b * taps[3] / 6.0 - 0.5 * c * taps[2])
