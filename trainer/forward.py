"""How each kind of network is run in training: in batches, on all devices.

A recurrent network carries its state from chunk to chunk. The others have none here: a segment comes with the past that
the network hears, and what lies before a recording is silence, so the answer is that of the streamed network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxmodels import bptt, wavenet_config
from jaxmodels.convstack import ConvStack
from jaxmodels.effect import Effect
from jaxmodels.recurrent import GRU, LSTM
from jaxmodels.taper import heard
from jaxmodels.tcn import MicroTCN, SteerableTCN
from jaxmodels.wavenet import WaveNet

from . import tcn, wavenet
from .config import TrainerError


class Forward(NamedTuple):
    """`run(effect, state, x [B, context + T, I]) -> (y [B, T], state)`; inputs are the audio and knob positions."""

    context: int  # samples of past that a segment comes with
    first: Callable[[Effect, int], Any]  # (effect, batch) -> state
    run: Callable[[Effect, Any, Array], tuple[Array, Any]]
    recurrent: bool = False


def of(effect: Effect, held: bool = False) -> Forward:
    """How to train this network; `held`: its knobs never move. Raises TrainerError where it cannot be trained."""
    if isinstance(effect, LSTM | GRU):
        return Forward(0, lambda effect, batch: bptt.initial_states(effect, batch), _shared(_recurrent), True)
    if effect.receptive_field is None:
        raise TrainerError(f"network: a {type(effect).__name__} is not trained here")
    run = _streamed
    if isinstance(effect, SteerableTCN | MicroTCN):
        run = partial(tcn.steerable if isinstance(effect, SteerableTCN) else tcn.micro, held=held)
    elif isinstance(effect, ConvStack):
        run = tcn.stack
    elif isinstance(effect, WaveNet) and wavenet.is_plain(wavenet_config.plan(effect.settings.config)):
        run = wavenet.forward
    context = effect.receptive_field - 1
    return Forward(context, lambda effect, batch: (), _shared(lambda effect, state, x: (run(effect, x), state)))


def _recurrent(effect, state, x):
    positions = x[..., 1:]
    still = bool(effect.settings.taper) and all(effect.settings.taper)  # such a knob has been recorded place by place
    values = jnp.broadcast_to(heard(effect, positions[:, :1] if still else positions), positions.shape)
    y, state = bptt.forward(effect, state, jnp.concatenate([x[..., :1], values], axis=-1))
    return y[..., 0], state


def _streamed(effect, x):
    """Any box, by its own step."""

    def one(x):
        state = effect.initial_state(x[0, 1:])
        return effect.step(state, x[:, :1], x[:, 1:])[0][effect.receptive_field - 1 :, 0]

    return jax.vmap(one)(x)


def placed() -> tuple[NamedSharding, NamedSharding]:
    """Where arrays lie: on every device, and dealt out by their first axis."""
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))


def dealt(tree: Any) -> Any:
    """A tree of batches on the devices, a share on each where that comes out even."""
    everywhere, share = placed()
    devices = len(jax.devices())
    return jax.tree.map(lambda leaf: jax.device_put(leaf, everywhere if len(leaf) % devices else share), tree)


def _shared(run):
    """`run` with the batch dealt out to all devices, where it can be."""
    mesh, whole, dealt = placed()[1].mesh, PartitionSpec(), PartitionSpec("batch")
    share = jax.shard_map(run, mesh=mesh, in_specs=(whole, dealt, dealt), out_specs=dealt, check_vma=False)

    def everywhere(effect, state, x):
        alone = len(jax.devices()) == 1 or len(x) % len(jax.devices())
        return run(effect, state, x) if alone else share(effect, state, x)

    return everywhere
