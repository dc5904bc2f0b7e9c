"""The training loop, readable from top to bottom: a recording in, a model file out, JSON lines on the way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxmodels import apply, load, save
from jaxmodels.recurrent import GRU, LSTM, Settings

from . import data
from .config import Network, Run
from .losses import esr, weighted

CELLS = {"lstm": LSTM, "gru": GRU}
SEGMENT_S = 0.5
capture_loss = weighted({"esr": 0.75, "dc": 0.25}, preemphasis=0.85)


def train(run: Run, report: Callable[[dict], None]) -> float:
    """Train one recurrent capture; the best checkpoint on the validation part is kept in `run.out`, whole at any time.

    Truncated backpropagation through time: each segment's state is warmed up, then carried, without its gradient, from
    chunk to chunk. Answers with the ESR of the file that was written, measured again after loading it.
    """
    pair = data.read_pair(run.dry, run.wet)
    parts = data.split(pair)
    learned, held_out = parts.train[0], parts.validation[0]
    length = max(round(SEGMENT_S * pair.rate), run.warm_up + run.chunk)
    dry, wet = (x[..., None] for x in data.segments(learned, length)[:2])
    batch = min(run.batch, len(dry))
    model = network(run.network, pair.rate, run.seed)
    structure, weights, rest = nnx.split(model, nnx.Param, ...)
    optimizer = optax.adam(run.learning_rate)
    moments = optimizer.init(weights)
    first_state = jnp.broadcast_to(model.initial_state(), (batch, *jnp.shape(model.initial_state())))

    def forward(weights, state, x):
        box = nnx.merge(structure, weights, rest)
        knobs = jnp.zeros((x.shape[1], 0))
        return jax.vmap(lambda s, block: box.step(s, block, knobs))(state, x)

    @jax.jit
    def settle(weights, x):
        return forward(weights, first_state, x)[1]

    @jax.jit
    def update(weights, moments, state, x, y):
        def loss(weights):
            output, after = forward(weights, state, x)
            return capture_loss(output[..., 0], y[..., 0]), after

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
        change, moments = optimizer.update(gradient, moments, weights)
        return optax.apply_updates(weights, change), moments, after, value

    @jax.jit
    def validate(weights):
        output = apply(nnx.merge(structure, weights, rest), jnp.asarray(held_out.dry))
        return esr(output[run.warm_up :], jnp.asarray(held_out.wet)[run.warm_up :])

    rng = np.random.default_rng(run.seed)
    began, best, loss, epoch, step = time.monotonic(), np.inf, np.nan, 0, 0
    while True:
        order = rng.permutation(len(dry))
        for at in range(0, len(order) - batch + 1, batch):
            x, y = dry[order[at : at + batch]], wet[order[at : at + batch]]
            state = settle(weights, x[:, : run.warm_up]) if run.warm_up else first_state
            for start in range(run.warm_up, length - run.chunk + 1, run.chunk):
                part = slice(start, start + run.chunk)
                weights, moments, state, loss = update(weights, moments, state, x[:, part], y[:, part])
                step += 1
        epoch += 1
        found, elapsed = float(validate(weights)), time.monotonic() - began
        if found < best:
            best = found
            save(run.out, nnx.merge(structure, weights, rest))
        report({"event": "epoch", "epoch": epoch, "step": step, "loss": float(loss), "esr": found, "best": best,
                "seconds": round(elapsed, 2)})  # fmt: skip
        if not np.isfinite(found):
            report({"event": "warning", "text": "the training has diverged; lower learning_rate"})
            break
        if epoch == run.epochs or elapsed * (1 + 1 / epoch) > run.seconds or best <= run.target_esr:
            break
    measured = measure(run.out, held_out, run.warm_up)
    elapsed = round(time.monotonic() - began, 2)
    report({"event": "done", "out": run.out, "esr": measured, "epochs": epoch, "seconds": elapsed})
    return measured


def network(spec: Network, rate: int, seed: int) -> LSTM | GRU:
    """A network with fresh weights."""
    settings = Settings(inputs=1, hidden=spec.hidden, layers=spec.layers, skip=spec.skip)
    return CELLS[spec.cell](settings, sample_rate=rate, rngs=nnx.Rngs(seed))


def measure(path: str, pair: data.Pair, skip: int) -> float:
    """ESR of a model file on a recording, without the first samples."""
    output = apply(load(path), jnp.asarray(pair.dry))
    return float(esr(output[skip:], jnp.asarray(pair.wet)[skip:]))


def print_line(record: dict) -> None:
    """One JSON object a line on standard output, at once."""
    print(json.dumps(record), file=sys.stdout, flush=True)
