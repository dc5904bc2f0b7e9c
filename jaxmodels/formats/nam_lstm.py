"""NAM's LSTM: flat weights to our network and back, and the silence it hears before it plays.

Source: NeuralAmpModelerCore (lstm). A file of our own says more, under `nafx`: `settled`, that the state in it is the
one to start with; `skip`, that its last hidden unit carries the dry signal, which NAM's LSTM cannot add by itself;
`bias`, whether the output layer has one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..effect import Knob, default_positions, hold
from ..recurrent import LSTM, Layer, Settings, Weights
from .nam_envelope import Model

SETTLE_S = 0.5
BLOCK = 64  # samples: NAM settles in whole blocks
CARRIED = 2.0**-12  # how quietly the dry signal goes through an LSTM: its tanh is straight there, to 4e-8
OPEN = 30.0  # the bias of a gate that stays open


class Cell(NamedTuple):
    """One layer as NAM has it, transposed: rows are inputs, then hidden units; columns are gates i, f, g, o."""

    weight: np.ndarray  # [I + H, 4H]
    bias: np.ndarray  # [4H]
    state: np.ndarray  # [2, H], h and c


def sizes(model: Model, knobs: int = 0) -> tuple[int, list[int]]:
    """Hidden units, and the inputs of each layer; raises ModelFileError where the config is wrong."""
    model.mono()
    hidden, layers = model.whole("hidden_size", 1, 1024), model.whole("num_layers", 1, 8, default=1)
    inputs = model.whole("input_size", 1 + knobs, 1 + knobs, default=1 + knobs)
    return hidden, [inputs] + [hidden] * (layers - 1)


def num_weights(hidden: int, widths: list[int]) -> int:
    """How many flat weights such a network has."""
    return sum(4 * hidden * (width + hidden + 1) + 2 * hidden for width in widths) + hidden + 1


def read_lstm(model: Model, rate: int, fast_tanh: bool, knobs: tuple[Knob, ...] = ()) -> LSTM:
    """The network of a model at `rate` Hz, settled as NAM settles it; raises ModelFileError."""
    hidden, widths = sizes(model, len(knobs))
    take = model.cutter(num_weights(hidden, widths))
    cells = [Cell(take(4 * hidden, width + hidden).T, take(4 * hidden), take(2, hidden)) for width in widths]
    head, head_bias = take(hidden, 1), take(1)
    skip = model.ours.get("skip") is True
    if skip:
        cells, head = _without_carrier(model, cells, head)
        hidden -= 1
    bias = model.ours.get("bias") is not False
    layered = [Layer(cell.weight[:-hidden], cell.weight[-hidden:], cell.bias) for cell in cells]
    weights = Weights(layered, head, head_bias if bias else None, np.stack([cell.state for cell in cells]))
    settings = Settings(widths[0], hidden, len(widths), bias, skip, fast_tanh)
    network = LSTM(settings, knobs=knobs, sample_rate=rate, weights=weights)
    if model.ours.get("settled") is not True:
        samples = max(1, int(SETTLE_S * (model.rate or 0)))
        network.initial[...] = _settled(network, jnp.asarray(default_positions(network)), -(-samples // BLOCK))
    return network


@jax.jit
def _settled(network: LSTM, knobs, blocks):
    """The state after so many blocks of silence; a state that does not change any more never will."""
    silence, still = jnp.zeros((BLOCK, 1)), hold(knobs, BLOCK)

    def go(carry):
        done, moving, _ = carry
        return (done < blocks) & moving

    def one(carry):
        done, _, state = carry
        after = network.step(state, silence, still)[1]
        return done + 1, jnp.any(after != state), after

    return lax.while_loop(go, one, (0, True, network.initial_state()))[2]


def flatten(network: LSTM) -> tuple[dict, np.ndarray]:
    """The `config` and the flat weights of an LSTM without knobs."""
    settings = network.settings
    cells = []
    for layer, state in zip(network.layers, np.asarray(network.initial[...]), strict=True):
        weight_ih, weight_hh, bias = (np.asarray(layer[key]) for key in ("weight_ih", "weight_hh", "bias"))
        cells.append(Cell(np.concatenate([weight_ih, weight_hh]), bias, state))
    head = np.asarray(network.head)
    head_bias = np.zeros(1) if network.head_bias is None else np.asarray(network.head_bias)
    if settings.skip:
        cells, head = _with_carrier(cells, head)
    config = {"input_size": 1, "hidden_size": len(head), "num_layers": settings.layers}
    tensors = [part for cell in cells for part in (cell.weight.T, cell.bias, cell.state)]
    return config, np.concatenate([np.ravel(part) for part in (*tensors, head, head_bias)])


def _with_carrier(cells: list[Cell], head: np.ndarray) -> tuple[list[Cell], np.ndarray]:
    """One hidden unit more in each layer hands on the dry signal, as quiet as CARRIED; the head lifts it again."""
    hidden, wider = len(head), []
    for n, cell in enumerate(cells):
        inputs, room = len(cell.weight) - hidden, int(n > 0)
        weight = np.zeros((inputs + room + hidden + 1, 4, hidden + 1), np.float32)
        gates = cell.weight.reshape(-1, 4, hidden)
        weight[:inputs, :, :-1], weight[inputs + room : -1, :, :-1] = gates[:inputs], gates[inputs:]
        weight[inputs + room - 1, 2, -1] = CARRIED if n == 0 else 1.0
        bias = np.zeros((4, hidden + 1), np.float32)
        bias[:, :-1], bias[:, -1] = cell.bias.reshape(4, hidden), (OPEN, -OPEN, 0.0, OPEN)  # in, forget, signal, out
        wider.append(Cell(weight.reshape(len(weight), -1), bias.ravel(), np.pad(cell.state, ((0, 0), (0, 1)))))
    return wider, np.append(head, [[np.float32(1 / CARRIED)]], axis=0)


def _without_carrier(model: Model, cells: list[Cell], head: np.ndarray) -> tuple[list[Cell], np.ndarray]:
    """What `_with_carrier` widened; raises ModelFileError where it is something else."""
    hidden, narrower = len(head) - 1, []
    for n, cell in enumerate(cells):
        gates = cell.weight.reshape(-1, 4, hidden + 1)[:-1, :, :-1]
        if n:
            gates = np.delete(gates, hidden, axis=0)
        bias = cell.bias.reshape(4, hidden + 1)[:, :-1]
        narrower.append(Cell(gates.reshape(-1, 4 * hidden), bias.ravel(), cell.state[:, :-1]))
    again, lifted = _with_carrier(narrower, head[:-1]) if hidden else ([], head)
    pairs = [pair for two in zip(again, cells, strict=False) for pair in zip(*two, strict=True)]
    if not again or not all(np.array_equal(*pair) for pair in (*pairs, (lifted, head))):
        raise model.refuse("its last hidden unit does not carry the dry signal, as nafx.skip says")
    return narrower, head[:-1]
