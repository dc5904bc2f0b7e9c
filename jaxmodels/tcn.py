"""Temporal convolutional networks whose sound is steered by feature-wise linear modulation (FiLM).

    SteerableTCN   Steinmetz and Reiss, "Steerable discovery of neural audio effects", NeurIPS 2021 workshop
    MicroTCN       Steinmetz and Reiss, "Efficient neural networks for real-time modeling of analog dynamic range
                   compression", AES 152, 2022

Both are chains of `FilmBlock`s with fast-growing dilations. Their papers pad only the signal, with silence; the blocks
inside hear what silence has become on its way (biases and beta), never zeros. That is the state these nets start in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from .convolution import CausalConv, product, torch_uniform
from .effect import Knob, knob_values, when_moving
from .film import FilmBlock, once_round, receptive_field, run, silent_pasts
from .settings import setting

PRELU_SLOPE = 0.25  # PyTorch's first value
CONDITIONING = (16, 32, 32)  # hidden sizes of micro-TCN's conditioning network
BATCH_NORM_EPSILON = 1e-5

Tensors = Mapping[str, np.ndarray | Array]
Shapes = dict[str, tuple[tuple[int, ...], int | None]]  # of each tensor: shape, and fan-in; None for PReLU slopes


def _tensors(kind: str, shapes: Shapes, weights: Tensors | None, rngs: nnx.Rngs | None) -> dict[str, np.ndarray]:
    """The given weights, looked at, or PyTorch's initial ones. Raises ValueError naming the tensor."""
    if weights is None:
        layers = {name: (shape, fan_in) for name, (shape, fan_in) in shapes.items() if fan_in}
        slopes = {
            name: np.full(shape, PRELU_SLOPE, np.float32) for name, (shape, fan_in) in shapes.items() if not fan_in
        }
        return torch_uniform((rngs or nnx.Rngs(0)).params(), layers) | slopes
    for name, (shape, _) in shapes.items():
        if name not in weights:
            raise ValueError(f"{kind}: there is no tensor {name!r} of shape {list(shape)}")
        found = weights[name]
        if np.shape(found) != shape:
            raise ValueError(f"{kind}: tensor {name!r} has shape {list(np.shape(found))}, not {list(shape)}")
        if not np.isfinite(np.asarray(found)).all():
            raise ValueError(f"{kind}: tensor {name!r} has entries that are not finite")
    return {name: np.asarray(weights[name], np.float32) for name in shapes}


def _sizes(kind: str, weights: Tensors, name: str, rank: int) -> tuple[int, ...]:
    shape = np.shape(weights[name]) if name in weights else ()
    if len(shape) != rank:
        raise ValueError(f"{kind}: there is no tensor {name!r} with {rank} axes")
    return shape


def _checked_knobs(kind: str, knobs: tuple[Knob, ...], controls: int) -> tuple[Knob, ...]:
    if len(knobs) != controls:
        raise ValueError(f"{kind}: {len(knobs)} knobs for {controls} controls")
    return tuple(knobs)


class SteerableTCN(nnx.Module):
    """A TCN whose every block is modulated by the knobs' values, through one linear layer each. Mono.

    The last block is an ordinary one: no output layer, no tanh. Made without `weights` it has PyTorch's initial ones;
    with them (`weights`, PyTorch's names and layouts) it is that network. Knobs are D controls c in -5..5, the range
    of the paper's figures; training is done at 0. Knob rows may be `[1, K]`, standing for all samples of a block.

    Raises ValueError where weights or knobs do not fit the settings.
    """

    @dataclass(frozen=True)
    class Settings:
        """The architecture, and nothing else: networks with equal settings, knobs and rate share one trace."""

        blocks: int = setting(4, low=1, high=16, help="convolutions, one after another")
        width: int = setting(32, low=1, high=256, help="channels between them")
        kernel_size: int = setting(9, low=1, high=64, help="taps of each")
        dilation_growth: int = setting(10, low=1, high=16, help="each block's taps lie this many times further apart")
        controls: int = setting(2, low=1, high=16, help="knobs")
        residual_delay: int = setting(1, low=0, high=1, help="samples; published weights need 1")

    channels = 1
    latency = 0

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = 44100,
        rngs: nnx.Rngs | None = None,
        weights: Tensors | None = None,
    ):
        s = self.settings = settings
        self.knobs = _checked_knobs("SteerableTCN", control_knobs(s.controls) if knobs is None else knobs, s.controls)
        self.sample_rate = sample_rate
        w = _tensors("SteerableTCN", self._shapes(s), weights, rngs)
        self.blocks = nnx.List(
            FilmBlock(
                CausalConv(w[f"{b}conv.weight"], w[f"{b}conv.bias"], dilation=s.dilation_growth**n),
                w[f"{b}film.adaptor.weight"],
                w[f"{b}film.adaptor.bias"],
                w[f"{b}act.weight"],
                w[f"{b}res.weight"][:, :, 0],
                s.residual_delay,
            )
            for n, b in _prefixes(s)
        )
        self.receptive_field = receptive_field("SteerableTCN", self.blocks)

    @staticmethod
    def _shapes(s: Settings) -> Shapes:
        shapes: Shapes = {}
        for n, b in _prefixes(s):
            inputs, outputs = 1 if n == 0 else s.width, 1 if n == s.blocks - 1 else s.width
            shapes[f"{b}conv.weight"] = (outputs, inputs, s.kernel_size), inputs * s.kernel_size
            shapes[f"{b}conv.bias"] = (outputs,), inputs * s.kernel_size
            shapes[f"{b}film.adaptor.weight"] = (2 * outputs, s.controls), s.controls
            shapes[f"{b}film.adaptor.bias"] = (2 * outputs,), s.controls
            shapes[f"{b}act.weight"] = (1,), None
            shapes[f"{b}res.weight"] = (outputs, inputs, 1), inputs
        return shapes

    @classmethod
    def from_weights(
        cls,
        weights: Tensors,
        *,
        dilation_growth: int = 10,
        residual_delay: int = 1,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = 44100,
    ) -> SteerableTCN:
        """A network from a PyTorch state dict of the paper's code; its sizes are read off the tensors."""
        width, _, kernel_size = _sizes("SteerableTCN", weights, "blocks.0.conv.weight", 3)
        controls = _sizes("SteerableTCN", weights, "blocks.0.film.adaptor.weight", 2)[1]
        settings = cls.Settings(
            _count(weights, "conv.weight"), width, kernel_size, dilation_growth, controls, residual_delay
        )
        return cls(settings, knobs=knobs, sample_rate=sample_rate, weights=weights)

    def weights(self) -> dict[str, np.ndarray]:
        """All weights by PyTorch's names: what `from_weights` takes."""
        found: dict[str, np.ndarray] = {}
        for (_, b), block in zip(_prefixes(self.settings), self.blocks, strict=True):
            found[f"{b}conv.weight"], found[f"{b}conv.bias"] = (
                np.asarray(block.conv.weight),
                np.asarray(block.conv.bias),
            )
            found[f"{b}film.adaptor.weight"] = np.asarray(block.film_weight)
            found[f"{b}film.adaptor.bias"] = np.asarray(block.film_bias)
            found[f"{b}act.weight"] = np.asarray(block.slope)
            found[f"{b}res.weight"] = np.asarray(block.residual)[:, :, None]
        return found

    def inverted(self) -> SteerableTCN:
        """The same network with its output negated: a magnitude loss cannot tell the two apart, a mix can.

        Exact, in the last block alone: -PReLU_a(z) = PReLU_1/a(-a z). Raises ValueError where its slope a is not
        above 0, as the negative is no PReLU then.
        """
        w, last = self.weights(), f"blocks.{self.settings.blocks - 1}."
        slope = float(w[f"{last}act.weight"][0])
        if slope <= 1e-3:
            raise ValueError(f"SteerableTCN: cannot be inverted, the last PReLU's slope is {slope:.4g}")
        for name in ("film.adaptor.weight", "film.adaptor.bias"):
            w[last + name] = -slope * w[last + name]
        w[last + "act.weight"], w[last + "res.weight"] = 1 / w[last + "act.weight"], -w[last + "res.weight"]
        return SteerableTCN(self.settings, knobs=self.knobs, sample_rate=self.sample_rate, weights=w)

    def initial_state(self, knobs=None):
        return _silent_state(self, _one_row(self, knobs))

    def step(self, state, x, knobs):
        y, state = run(self.blocks, state, x.T, self._films(knobs))
        return y.T, state

    def once_round(self, x: Float[Array, " T"], knobs: Float[Array, " K"]) -> Float[Array, " T"]:
        """A signal that has gone round for ever, as it comes out: its whole past is heard, though it is short."""
        return once_round(self.blocks, x[None], self._films(knobs[None]))[0]

    def _films(self, knobs):
        return [block.film(_values(self, knobs)) for block in self.blocks]


class MicroTCN(nnx.Module):
    """A TCN modulated by the knobs through a small network of their own; 1x1 output layer and tanh. Mono.

    causal = False is the papers' other variant: each block's residual is taken from the middle of its kernel instead of
    its end. It hears as much of the future as of the past, so as a stream it is `latency` samples late.

    Made without `weights` it has PyTorch's initial ones; with them (PyTorch's names and layouts) it is that network,
    its batch normalisation folded into the modulation. Knobs are 0..1. Knob rows may be `[1, K]`, standing for all
    samples of a block. Raises ValueError where weights or knobs do not fit the settings.
    """

    @dataclass(frozen=True)
    class Settings:
        """The architecture, and nothing else: networks with equal settings, knobs and rate share one trace."""

        blocks: int = setting(4, low=1, high=16, help="convolutions, one after another")
        width: int = setting(32, low=1, high=256, help="channels between them")
        kernel_size: int = setting(5, low=1, high=64, help="taps of each")
        dilation_growth: int = setting(10, low=1, high=16, help="each block's taps lie this many times further apart")
        controls: int = setting(2, low=1, high=16, help="knobs")
        causal: bool = setting(True, help="no latency; without it, half the receptive field lies in the future")

    channels = 1

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = 44100,
        rngs: nnx.Rngs | None = None,
        weights: Tensors | None = None,
    ):
        s = self.settings = settings
        self.knobs = _checked_knobs("MicroTCN", compressor_knobs(s.controls) if knobs is None else knobs, s.controls)
        self.sample_rate = sample_rate
        if weights is not None:
            weights = _without_batch_norm(weights, s.blocks)
        w = _tensors("MicroTCN", self._shapes(s), weights, rngs)
        self.conditioning = nnx.List(
            nnx.Dict(weight=_param(w[f"gen.{i}.weight"]), bias=_param(w[f"gen.{i}.bias"])) for i in (0, 2, 4)
        )
        blocks = []
        for n, b in _prefixes(s):
            conv = CausalConv(w[f"{b}conv1.weight"], dilation=s.dilation_growth**n)
            film = w[f"{b}film.adaptor.weight"], w[f"{b}film.adaptor.bias"]
            delay = 1 if s.causal else conv.lookback - conv.lookback // 2
            blocks.append(FilmBlock(conv, *film, w[f"{b}relu.weight"], w[f"{b}res.weight"][:, 0, 0], delay))
        self.blocks = nnx.List(blocks)
        self.output_weight, self.output_bias = _param(w["output.weight"][:, :, 0]), _param(w["output.bias"])
        self.receptive_field = receptive_field("MicroTCN", blocks)
        self.latency = 0 if s.causal else sum(block.residual_delay for block in blocks)

    @staticmethod
    def _shapes(s: Settings) -> Shapes:
        shapes: Shapes = {}
        for i, (inputs, outputs) in enumerate(zip((s.controls, *CONDITIONING), CONDITIONING, strict=False)):
            shapes[f"gen.{2 * i}.weight"] = (outputs, inputs), inputs
            shapes[f"gen.{2 * i}.bias"] = (outputs,), inputs
        for n, b in _prefixes(s):
            inputs = 1 if n == 0 else s.width
            shapes[f"{b}conv1.weight"] = (s.width, inputs, s.kernel_size), inputs * s.kernel_size
            shapes[f"{b}film.adaptor.weight"] = (2 * s.width, CONDITIONING[-1]), CONDITIONING[-1]
            shapes[f"{b}film.adaptor.bias"] = (2 * s.width,), CONDITIONING[-1]
            shapes[f"{b}relu.weight"] = (s.width,), None
            shapes[f"{b}res.weight"] = (s.width, 1, 1), 1
        shapes["output.weight"] = (1, s.width, 1), s.width
        shapes["output.bias"] = (1,), s.width
        return shapes

    @classmethod
    def from_weights(
        cls,
        weights: Tensors,
        *,
        dilation_growth: int = 10,
        causal: bool = True,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = 44100,
    ) -> MicroTCN:
        """A network from a PyTorch state dict of the paper's code; its sizes are read off the tensors."""
        width, _, kernel_size = _sizes("MicroTCN", weights, "blocks.0.conv1.weight", 3)
        controls = _sizes("MicroTCN", weights, "gen.0.weight", 2)[1]
        settings = cls.Settings(_count(weights, "conv1.weight"), width, kernel_size, dilation_growth, controls, causal)
        return cls(settings, knobs=knobs, sample_rate=sample_rate, weights=weights)

    def weights(self) -> dict[str, np.ndarray]:
        """All weights by PyTorch's names, without batch normalisation: what `from_weights` takes."""
        found: dict[str, np.ndarray] = {}
        for i, layer in enumerate(self.conditioning):
            found[f"gen.{2 * i}.weight"], found[f"gen.{2 * i}.bias"] = np.asarray(layer.weight), np.asarray(layer.bias)
        for (_, b), block in zip(_prefixes(self.settings), self.blocks, strict=True):
            found[f"{b}conv1.weight"] = np.asarray(block.conv.weight)
            found[f"{b}film.adaptor.weight"] = np.asarray(block.film_weight)
            found[f"{b}film.adaptor.bias"] = np.asarray(block.film_bias)
            found[f"{b}relu.weight"] = np.asarray(block.slope)
            found[f"{b}res.weight"] = np.asarray(block.residual)[:, None, None]
        found["output.weight"] = np.asarray(self.output_weight)[:, :, None]
        found["output.bias"] = np.asarray(self.output_bias)
        return found

    def inverted(self) -> MicroTCN:
        """The same network with its output negated: a magnitude loss cannot tell the two apart, a mix can."""
        w = self.weights()
        w["output.weight"], w["output.bias"] = -w["output.weight"], -w["output.bias"]
        return MicroTCN(self.settings, knobs=self.knobs, sample_rate=self.sample_rate, weights=w)

    def initial_state(self, knobs=None):
        return _silent_state(self, _one_row(self, knobs))

    def step(self, state, x, knobs):
        y, state = run(self.blocks, state, x.T, self._films(knobs))
        return jnp.tanh(product(self.output_weight[...], y) + self.output_bias[...][:, None]).T, state

    def _films(self, knobs):
        """Each block's gammas and betas; the network behind them runs once a block while the knobs stand still."""

        def films(positions):
            values = _values(self, positions)
            for layer in self.conditioning:
                values = jax.nn.relu(product(layer.weight[...], values) + layer.bias[...][:, None])
            return jnp.concatenate([block.film(values) for block in self.blocks])

        return jnp.split(when_moving(films, knobs), len(self.blocks))


def control_knobs(controls: int = 2) -> tuple[Knob, ...]:
    """The knobs that steering leaves to chance: `c1`, `c2`..., -5..5, trained at 0."""
    return tuple(Knob(f"c{i + 1}", "", -5.0, 5.0, 0.0) for i in range(controls))


def compressor_knobs(controls: int = 2) -> tuple[Knob, ...]:
    """The knobs of the paper's compressor, 0..1: `limit`, `peak_reduction`; any further ones are `c3`, `c4`..."""
    named = (Knob("limit", default=0.0), Knob("peak_reduction"))
    return (*named[:controls], *(Knob(f"c{i + 1}") for i in range(2, controls)))


def _values(effect, positions: Float[Array, "T K"]) -> Float[Array, "K T"]:
    """The knobs' values, a row a knob."""
    return knob_values(effect.knobs, positions).T


def _one_row(effect, knobs) -> Float[Array, "1 K"]:
    if knobs is None:
        knobs = [knob.position(knob.default) for knob in effect.knobs]
    return jnp.asarray(knobs, jnp.float32)[None]


@jax.jit
def _silent_state(net, row):
    return silent_pasts(net.blocks, net._films(row))


def _param(value) -> nnx.Param:
    return nnx.Param(jnp.asarray(value, jnp.float32))


def _prefixes(settings) -> list[tuple[int, str]]:
    return [(n, f"blocks.{n}.") for n in range(settings.blocks)]


def _count(weights: Tensors, name: str) -> int:
    n = 0
    while f"blocks.{n}.{name}" in weights:
        n += 1
    return n


def _without_batch_norm(weights: Tensors, blocks: int) -> Tensors:
    """The same network with every block's `film.bn` (fixed mean and variance) folded into its `film.adaptor`.

    gamma (y - mean) / deviation + beta is linear in y, and gamma and beta are linear in the condition.
    """
    folded = dict(weights)
    for n in range(blocks):
        bn, film = f"blocks.{n}.film.bn.", f"blocks.{n}.film.adaptor."
        if f"{bn}running_var" not in weights or f"{film}weight" not in weights or f"{film}bias" not in weights:
            continue
        scale = 1 / np.sqrt(np.asarray(weights[f"{bn}running_var"], np.float64) + BATCH_NORM_EPSILON)
        shift = np.asarray(weights[f"{bn}running_mean"], np.float64) * scale
        for name, axes in (("weight", (slice(None), None)), ("bias", (slice(None),))):
            gamma, beta = np.split(np.asarray(weights[film + name], np.float64), 2)
            folded[film + name] = np.concatenate([gamma * scale[axes], beta - gamma * shift[axes]])
    return folded
