"""Plain convolutions one after another, with knobs as further inputs: what recurrent networks are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx

from .convolution import CausalConv, extend, steady, torch_uniform
from .effect import Knob, default_positions, knob_values
from .settings import setting

PRELU_SLOPE = 0.25  # PyTorch's first value


class ConvStack(nnx.Module):
    """Causal convolutions, a PReLU after each, its slope one number. Mono.

    Input columns are the audio and the values of the knobs, `inputs - 1` of them. As made it is the comparison network
    of the SuperKnob paper (26,007 numbers with one knob), causal instead of centred. Raises ValueError where there are
    not `inputs - 1` knobs, or the widths are none. Source: "Conv1D" of the SuperKnob's training scripts.
    """

    @dataclass(frozen=True)
    class Settings:
        inputs: int = setting(1, low=1, high=16, help="input columns: the audio, then one for each knob")
        widths: tuple[int, ...] = setting((16, 32, 64, 32, 16), help="channels between the convolutions")
        kernel_size: int = setting(5, low=1, high=64, help="taps of each")

    channels = 1
    latency = 0

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = None,
        rngs: nnx.Rngs | None = None,
    ):
        s = self.settings = settings
        if not s.widths or len(s.widths) > 32 or not all(1 <= width <= 256 for width in s.widths):
            raise ValueError(f"ConvStack: widths = {s.widths}: must be 1 to 32 numbers of 1 to 256")
        self.knobs = tuple(Knob(f"knob {k + 1}") for k in range(s.inputs - 1)) if knobs is None else tuple(knobs)
        if len(self.knobs) != s.inputs - 1:
            raise ValueError(f"ConvStack: {len(self.knobs)} knobs for {s.inputs} inputs; must be one fewer")
        self.sample_rate = sample_rate
        widths = [s.inputs, *s.widths, 1]
        shapes = {}
        for n, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
            fan_in = inputs * s.kernel_size
            shapes |= {f"w{n}": ((outputs, inputs, s.kernel_size), fan_in), f"b{n}": ((outputs,), fan_in)}
        drawn = torch_uniform((rngs or nnx.Rngs(0)).params(), shapes)
        self.convs = nnx.List(CausalConv(drawn[f"w{n}"], drawn[f"b{n}"]) for n in range(len(widths) - 1))
        self.slopes = nnx.Param(jnp.full(len(widths) - 1, PRELU_SLOPE, jnp.float32))
        self.receptive_field = 1 + sum(conv.lookback for conv in self.convs)

    def initial_state(self, knobs=None):
        """As after endless silence at these positions."""
        column, state = jnp.zeros(1), []
        if self.knobs:
            stand = jnp.asarray(default_positions(self)) if knobs is None else knobs
            column = jnp.concatenate([column, knob_values(self.knobs, stand)])
        for n, conv in enumerate(self.convs):
            state.append(steady(column, conv.lookback))
            column = self._bent(n, conv.constant(column))
        return tuple(state)

    def step(self, state, x, knobs):
        """A block `[T, 1]` and knob positions `[T, K]`."""
        held = jnp.broadcast_to(knob_values(self.knobs, knobs), (len(x), len(self.knobs)))
        signal, after = jnp.concatenate([x, held], axis=1).T, []
        for n, (conv, past) in enumerate(zip(self.convs, state, strict=True)):
            window = extend(past, signal)
            after.append(window.after)
            signal = self._bent(n, conv(window))
        return signal.T, tuple(after)

    def _bent(self, n: int, x):
        return jnp.maximum(x, 0) + self.slopes[n] * jnp.minimum(x, 0)
