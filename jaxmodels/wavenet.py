"""The WaveNet of Neural Amp Modeler, first and second generation: most captures that people own are one."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from . import wavenet_config, wavenet_plan
from .convolution import torch_uniform
from .effect import Effect, Knob, default_positions
from .settings import setting
from .wavenet_layers import Past
from .wavenet_stream import silence, stream

HEAD_SCALE = 0.02  # of a network that is still to be trained


def _a1(channels: int, skip: int, split: int) -> dict:
    """A network of the first generation: two arrays, twenty layers or so, their dilations doubling."""
    grown = [2**n for n in range(10)]
    first, second = (grown[:split], grown[split:] + grown) if split < 10 else (grown, grown)
    shared = {"condition_size": 1, "kernel_size": 3, "activation": "Tanh"}
    layers = [
        shared | {"input_size": 1, "channels": channels, "head_size": skip, "head_bias": False, "dilations": first},
        shared | {"input_size": channels, "channels": skip, "head_size": 1, "head_bias": True, "dilations": second},
    ]
    return {"layers": layers}


def _a2(channels: int) -> dict:
    """A network of the second generation: one array of 23 layers."""
    grown = [1, 3, 7, 17, 41, 101, 239]
    layer = {
        "input_size": 1,
        "condition_size": 1,
        "channels": channels,
        "head": {"out_channels": 1, "kernel_size": 16, "bias": True},
        "kernel_sizes": [6] * 14 + [15, 15] + [6] * 7,
        "dilations": [*grown, *grown, 1, 13, *grown],
        "activation": {"type": "LeakyReLU", "negative_slope": 0.01},
    }
    return {"layers": [layer]}


@dataclass(frozen=True)
class Settings:
    """The architecture, and nothing else: networks with equal settings, knobs and rate share one trace."""

    config: str = setting(
        wavenet_config.canonical(_a1(16, 8, 10)), help="NAM's description of it, in JSON; see wavenet_config.canonical"
    )


PRESETS: dict[str, Settings] = {
    name: Settings(wavenet_config.canonical(config))
    for name, config in {
        "standard": _a1(16, 8, 10),
        "lite": _a1(12, 6, 7),
        "feather": _a1(8, 4, 7),
        "nano": _a1(4, 2, 7),
        "a2_full": _a2(8),
        "a2_lite": _a2(3),
    }.items()
}


class WaveNet(nnx.Module):
    """Dilated convolutions on top of each other, each steered by the input itself; their skip paths make the output.

    settings    the architecture, in NAM's own terms
    knobs       further columns of the input and the condition (see `encode`)
    weights     all of them as they stand in a `.nam` file, flat float32, `head_scale` last; None: PyTorch's first ones
    condition   the nested network of `condition_dsp`; made from the settings where None, if it is a WaveNet itself

    The state is as after endless silence. Mono. Raises ValueError where the settings are no architecture, or weights
    and knobs do not fit them. Source: formats of Neural Amp Modeler 0.5 to 0.7.
    """

    Settings = Settings
    channels = 1
    latency = 0
    unroll = True  # on several channels: written out, as the loops of a block are longer than a vector

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] = (),
        sample_rate: int | None = None,
        rngs: nnx.Rngs | None = None,
        weights: np.ndarray | None = None,
        condition: Effect | None = None,
    ):
        self.plan = plan = wavenet_config.plan(settings.config)
        self.settings, self.sample_rate, self.knobs = settings, sample_rate, tuple(knobs)
        inputs = 1 + sum(encoded_size(knob) for knob in self.knobs)
        if inputs != plan.in_channels:
            wanted = f"the network wants {plan.in_channels}, the audio included"
            raise ValueError(f"{len(self.knobs)} knobs make {inputs} columns of input; {wanted}")
        rngs = rngs or nnx.Rngs(0)
        self.condition = nnx.data(_condition(plan, condition, self.knobs, sample_rate, rngs))
        count = wavenet_plan.num_weights(plan)
        if weights is None:
            weights = np.append(_drawn(plan, rngs), np.float32(HEAD_SCALE))
        if np.shape(weights) != (count + 1,):
            raise ValueError(f"{np.size(weights)} weights; this architecture has {count + 1}")
        weights = np.asarray(weights, np.float32)
        self.weights = nnx.Param(jnp.asarray(weights[:-1]))
        self.head_scale = nnx.Variable(jnp.asarray(weights[-1:]))  # NAM's trainer leaves it as it is, and so do we
        heard = 1 if self.condition is None else self.condition.receptive_field
        self.receptive_field = None if heard is None else plan.receptive_field + heard - 1

    @property
    def outputs(self) -> int:
        """Channels that come out: 1, unless it is the condition of another network."""
        return self.plan.outputs

    def initial_state(self, knobs=None):
        positions = jnp.asarray(default_positions(self) if knobs is None else knobs, jnp.float32)
        return self.silent(_inputs(self, jnp.zeros((1, 1), jnp.float32), positions[None]))[1]

    def step(self, state, x, knobs):
        y, state = self.run(state, _inputs(self, x, knobs))
        return y.T, state

    def silent(self, x: Float[Array, "I 1"]):
        """Output column and state when the inputs have stood at these values for ever."""
        c, inner = x, ()
        if isinstance(self.condition, WaveNet):
            c, inner = self.condition.silent(x)
        elif self.condition is not None:
            inner = self.condition.initial_state()
            c = self.condition.step(inner, x.T, jnp.zeros((1, 0)))[0].T
        y, past = _silence(self.plan, self.weights[...], self.head_scale[...][0], x, c)
        return y, (past, inner)

    def run(self, state, x: Float[Array, "I T"]):
        """A block of the inputs `[I, T]`, knobs included, channel-major: the output `[O, T]` and the state after it."""
        past, inner = state
        c = x
        if isinstance(self.condition, WaveNet):
            c, inner = self.condition.run(inner, x)
        elif self.condition is not None:
            c, inner = self.condition.step(inner, x.T, jnp.zeros((x.shape[1], 0)))
            c = c.T
        y, past = _stream(self.plan, self.weights[...], self.head_scale[...][0], Past(*past), x, c)
        return y, (past, inner)


def encoded_size(knob: Knob) -> int:
    """Columns that a knob becomes: one, or one for each label of a switch."""
    return len(knob.labels) or 1


def encode(knobs: tuple[Knob, ...], positions: Float[Array, "T K"]) -> Float[Array, "T E"]:
    """Knobs as the parametric captures hear them: -1 to 1; a switch as one column a label, 1 where it stands."""
    columns = [jnp.zeros((len(positions), 0), jnp.float32)]
    for k, knob in enumerate(knobs):
        position = positions[:, k : k + 1]
        if knob.labels:
            where = jnp.round(position * (len(knob.labels) - 1))
            columns.append((where == jnp.arange(len(knob.labels), dtype=jnp.float32)[None]).astype(jnp.float32))
        else:
            columns.append(2 * position - 1)
    return jnp.concatenate(columns, axis=1)


def _inputs(net: WaveNet, x, positions) -> Float[Array, "I T"]:
    return jnp.concatenate([x, encode(net.knobs, positions)], axis=1).T if net.knobs else x.T


_silence, _stream = (jax.jit(function, static_argnums=0) for function in (silence, stream))  # for calls outside of any


def _drawn(plan, rngs) -> np.ndarray:
    """PyTorch's first weights, flat."""
    shapes = {tensor.name: (tensor.shape, tensor.fan_in) for tensor in wavenet_plan.tensors(plan)}
    return np.concatenate([part.ravel() for part in torch_uniform(rngs.params(), shapes).values()])


def _condition(plan, given: Effect | None, knobs, sample_rate, rngs) -> Effect | None:
    """The network that makes the condition, looked at; None where there is none."""
    if plan.condition is None:
        if given is not None:
            raise ValueError("a condition network for an architecture that has none")
        return None
    described = json.loads(plan.condition)
    nested = described["architecture"] == "WaveNet"
    text = json.dumps(described["config"], sort_keys=True)
    if given is None:
        if not nested:
            raise ValueError(f"the condition network is of kind {described['architecture']} and must be given")
        return WaveNet(Settings(text), knobs=knobs, sample_rate=sample_rate, rngs=rngs)
    fits = given.settings == Settings(text) if nested else given.channels == 1 and not given.knobs and not knobs
    if isinstance(given, WaveNet) != nested or not fits:
        raise ValueError("the condition network is not the one that the architecture describes")
    if given.sample_rate not in (None, sample_rate):
        raise ValueError(f"the condition network runs at {given.sample_rate} Hz, the network at {sample_rate} Hz")
    return given
