"""The training loop, readable from top to bottom: recordings in, a model file out, JSON lines on the way."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from flax import nnx

from . import batches, checkpoint, finish, forward, journal, machine, schedule, spectrum
from .config import Run, Schedule, TrainerError
from .losses import l1_relative
from .recipes import Job, described, prepare
from .recipes import reroll as new_controls

Report = Callable[[dict], None]
LOGS = 60  # validations of a run that does not say how many
PATIENT = 0.4  # of a run without a better validation is a plateau
LOUD = 1.5  # times the target's power
COLLAPSES = 3  # times that a diverged run is taken up again


class Memory(NamedTuple):
    """All that a run knows and needs to go on: arrays."""

    weights: Any
    moments: Any
    state: Any  # of the network, between two chunks
    mean: Any  # of the weights lately: what is judged and kept; the weights themselves where none is asked for
    best: Any  # such weights


class Progress(msgspec.Struct):
    """All that a run knows and needs to go on: numbers."""

    step: int = 0
    elapsed: float = 0.0
    figure: float = float("inf")  # of the best weights
    best_step: int = 0
    kept_step: int = 0  # of the weights in the model file
    worse: int = 0  # validations since
    scale: float = 1.0  # of the learning rate, on a plateau or after a collapse
    collapses: int = 0
    inverted: bool = False  # by the last validation
    loss_sum: float = 0.0  # since the last validation
    losses: int = 0
    warned: list[str] = []


def train(run: Run, report: Report, *, resume: bool = False, stop: Callable[[], bool] = lambda: False,
          pictures: bool = False) -> dict:  # fmt: skip
    """Carry out a run; answers with the last record of its report.

    The model file holds the best weights so far at every checkpoint, and is whole at any time. `stop` ends the run
    early, as does a file `<out>.stop`; while there is a file `<out>.pause` the run waits, and its clock stands still.
    With `pictures` a checkpoint is followed by the spectra of a validation recording and of the model's answer.
    Every record goes into `<out>.log.jsonl`, too.
    """
    if run.reroll:
        return finish.rerolled(run, new_controls, report)
    saved, pause, end = (Path(f"{run.out}.{what}") for what in ("checkpoint", "pause", "stop"))
    damaged = checkpoint.set_aside(saved) if resume else ""
    job = prepare(msgspec.structs.replace(run, start_from=run.out) if damaged and Path(run.out).exists() else run)
    report = journal.keeping(run.out, report)
    plan = job.schedule
    way = _way(job)
    learned = batches.pieces(job.pairs.train, job.effect)
    layout = batches.layout(learned, plan, way.context, way.recurrent, len(jax.devices()))
    structure, weights, rest = nnx.split(job.effect, nnx.Param, ...)
    settle, update, validate = _compiled(job, way, structure, rest, layout)
    drawn = spectrum.pictures(job, way, structure, rest) if pictures else lambda weights: {}
    first = way.first(job.effect, layout.batch)
    memory = _placed(Memory(weights, _optimizer(job).init(weights), first, weights, weights))
    at = Progress()
    digest = hashlib.sha256(msgspec.json.encode(run)).hexdigest()
    if resume and saved.exists():
        memory, at = _restored(saved, memory, digest)
        memory = _placed(memory)
    report(_opening(job, layout, run, at))
    if damaged:
        text = f"{damaged}; the training begins again, from the model as it was last written"
        report({"event": "warning", "what": "checkpoint", "text": text})

    learned_rate = job.pairs.train[0].rate
    now = _clock(plan)
    began = now() - at.elapsed
    kept = logged = at.elapsed
    cost = None  # seconds, of the last validation; the first, which compiles, is not counted
    stopped, x, y = False, None, None
    while not _over(plan, at):
        number, chunk = divmod(at.step, layout.chunks)
        if x is None or chunk == 0:
            x, y = forward.dealt(batches.batch(learned, layout, run.seed, number, plan.fixed))
        if way.recurrent and chunk == 0:
            memory = memory._replace(state=settle(memory.weights, x))
        done = schedule.progress(plan, at.step, at.elapsed)
        pace = at.scale * schedule.rate(plan, done)
        early = done < plan.early or (plan.early > 0 and at.inverted)
        memory, loss = update(memory, x, y, chunk, pace, float(early), schedule.share(plan, at.step))
        at.step, at.loss_sum, at.losses = at.step + 1, at.loss_sum + float(loss), at.losses + 1
        at.elapsed = now() - began

        if not np.isfinite(at.loss_sum):
            memory, at = _collapsed(memory, at, _optimizer(job).init(memory.best), report)
            x = None
        elif _due(plan, at, logged, cost) or _over(plan, at):
            found = validate(memory.mean)
            logged = now() - began
            cost = 0.0 if cost is None else logged - at.elapsed
            memory, at = _judged(job, memory, at, found)
            for name, text in _warnings(plan, at, found, done):
                if name not in at.warned:
                    at.warned = [*at.warned, name]
                    report({"event": "warning", "what": name, "text": text})
            report(_line(plan, layout, at, found, pace, learned_rate))
            at.loss_sum, at.losses = 0.0, 0
            if run.target_esr and found.esr <= run.target_esr:
                report({"event": "target", "esr": found.esr})
                break
            if plan.patience and at.worse >= plan.patience:
                break
        if at.elapsed - kept >= plan.checkpoint_every:
            kept = at.elapsed
            _keep(run, structure, rest, memory, at, digest, saved, report, drawn)
        if pause.exists():
            _keep(run, structure, rest, memory, at, digest, saved, report, drawn)
            report({"event": "paused", "step": at.step})
            while pause.exists() and not (stop() or end.exists()):
                time.sleep(0.1)
            began = now() - at.elapsed
            report({"event": "continued", "step": at.step})
        if stop() or end.exists():
            stopped = True
            break

    _keep(run, structure, rest, memory, at, digest, saved, report, drawn)
    chosen = memory.best if plan.choose == "best" and np.isfinite(at.figure) else memory.mean
    record = finish.finished(run, job, nnx.merge(structure, chosen, rest), at, stopped, report)
    if not stopped:
        saved.unlink(missing_ok=True)
    return record


# --- what is compiled, once -------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A validation: over all of it, and by recording."""

    esr: float
    loss: float
    by_name: dict[str, float]
    polarity: float  # correlation of output and target, -1..1
    power: float  # of the output, over the target's


def _clock(plan: Schedule) -> Callable[[], float]:
    """Seconds on the wall, or those that this machine's cores would have taken for the work alone."""
    cores = machine.cores()
    return time.monotonic if plan.clock == "wall" else lambda: time.process_time() / cores


def _way(job: Job) -> forward.Forward:
    return forward.of(job.effect, held=not any(pair.knobs or pair.control is not None for pair in job.pairs.train))


def _optimizer(job: Job):
    plan = job.schedule
    decay = [optax.add_decayed_weights(plan.weight_decay)] if plan.weight_decay else []
    own = [] if job.rates is None else [optax.stateless(lambda tree, _: jax.tree.map(jnp.multiply, tree, job.rates))]
    return optax.chain(*own, optax.clip_by_global_norm(plan.clip), *decay, optax.scale_by_adam(), *own)


def _compiled(job: Job, way: forward.Forward, structure, rest, layout: batches.Layout):
    """`settle`, `update` and `validate`."""
    optimizer, size = _optimizer(job), layout.segment // layout.chunks

    def run(weights, state, x):
        return way.run(nnx.merge(structure, weights, rest), state, x)

    everywhere, share = forward.placed()
    share = everywhere if layout.batch % len(jax.devices()) else share

    @partial(jax.jit, out_shardings=share)
    def settle(weights, x):
        state = way.first(job.effect, len(x))
        return run(weights, state, x[:, : layout.before])[1] if layout.before else state

    @partial(jax.jit, out_shardings=(everywhere, everywhere, share, everywhere, everywhere))
    def update(weights, moments, state, mean, x, y, chunk, pace, early, newest):
        if way.recurrent:
            x = jax.lax.dynamic_slice_in_dim(x, layout.before + chunk * size, size, axis=1)
            y = jax.lax.dynamic_slice_in_dim(y, chunk * size, size, axis=1)

        def loss(weights):
            output, after = run(weights, state, x)
            value = job.loss(output, y)
            extra = l1_relative(output, y) if job.schedule.early else 0.0
            return value + early * extra, (after, value)

        (_, (after, value)), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
        change, moments = optimizer.update(gradient, moments, weights)
        change = jax.tree.map(lambda leaf: -pace * leaf, change)
        weights = optax.apply_updates(weights, change)
        return weights, moments, after, optax.incremental_update(weights, mean, newest), value

    def step(memory: Memory, x, y, chunk, pace, early, newest):
        pace, early, newest = np.float32(pace), np.float32(early), np.float32(newest)
        weights, moments, state, mean, loss = update(*memory[:-1], x, y, chunk, pace, early, newest)
        return Memory(weights, moments, state, mean, memory.best), loss

    return settle, step, _validation(job, way, structure, rest)


def stepper(job: Job) -> Callable[[], float]:
    """One training step after another on the first batch, for benchmarks: each call answers with its loss."""
    way = _way(job)
    learned = batches.pieces(job.pairs.train, job.effect)
    layout = batches.layout(learned, job.schedule, way.context, way.recurrent, len(jax.devices()))
    structure, weights, rest = nnx.split(job.effect, nnx.Param, ...)
    _, update, _ = _compiled(job, way, structure, rest, layout)
    moments, state = _optimizer(job).init(weights), way.first(job.effect, layout.batch)
    memory = _placed(Memory(weights, moments, state, weights, weights))
    x, y = forward.dealt(batches.batch(learned, layout, 0, 0, job.schedule.fixed))

    def step() -> float:
        nonlocal memory
        memory, loss = update(memory, x, y, 0, 1e-3, 0.0, 1.0)
        return float(loss)

    return step


def _validation(job: Job, way: forward.Forward, structure, rest):
    """Whole recordings, the state carried through them; recordings of equal length go side by side."""
    pieces = batches.pieces(job.pairs.validation or job.pairs.train, job.effect)
    before = 0 if way.recurrent else way.context
    groups: dict[tuple[int, int], list[batches.Piece]] = {}
    for piece in pieces:
        unheard = job.schedule.warm_up if way.recurrent and not piece.lead else 0
        groups.setdefault((len(piece.y), max(piece.lead, min(unheard, len(piece.y) // 2))), []).append(piece)
    stacked = [
        (skip, [piece.name for piece in group], jnp.asarray(np.stack([batches.take(piece.x, -before, len(piece.x))
                                                                      for piece in group])),
         jnp.asarray(np.stack([piece.y for piece in group])))
        for (_, skip), group in groups.items()
    ]  # fmt: skip

    @partial(jax.jit, static_argnums=3)
    def sums(weights, x, y, skip):
        effect = nnx.merge(structure, weights, rest)
        output, _ = way.run(effect, way.first(effect, len(x)), x)
        output, y = output[:, skip:], y[:, skip:]
        each = [jnp.sum(part, axis=1) for part in ((output - y) ** 2, y**2, output * y, output**2)]
        return jnp.stack(each, axis=1), job.loss(output, y)

    def validate(weights) -> Found:
        totals: dict[str, np.ndarray] = {}
        losses = []
        for skip, names, x, y in stacked:
            each, loss = sums(weights, x, y, skip)
            losses.append(float(loss))
            for name, row in zip(names, np.asarray(each, np.float64), strict=True):
                totals[name] = totals.get(name, 0.0) + row
        by_name = {name: float(total[0] / max(total[1], 1e-12)) for name, total in totals.items()}
        error, target, common, output = np.sum(list(totals.values()), axis=0)
        polarity = float(common / max(np.sqrt(target * output), 1e-12))
        return Found(float(np.mean(list(by_name.values()))), float(np.mean(losses)), by_name, polarity,
                     float(output / max(target, 1e-12)))  # fmt: skip

    return validate


# --- decisions --------------------------------------------------------------------------------------------------------


def _over(plan, at: Progress) -> bool:
    return bool(plan.steps and at.step >= plan.steps) or bool(plan.seconds and at.elapsed >= plan.seconds)


def _due(plan, at: Progress, logged: float, cost: float | None) -> bool:
    """Whether it is time to validate: by steps where they decide, so that a run resumed says the same.

    By the clock: some sixty times or as often as there are checkpoints, and for no more than a tenth of the time.
    """
    if plan.validate_every or plan.steps:
        return at.step % (plan.validate_every or max(1, plan.steps // LOGS)) == 0
    return at.elapsed - logged >= max(min(plan.seconds / LOGS, plan.checkpoint_every), 9 * (cost or 0.0))


def _judged(job: Job, memory: Memory, at: Progress, found: Found):
    at.inverted = found.polarity < 0
    figure = found.loss if job.figure == "loss" else found.esr
    if figure < at.figure:
        at.figure, at.best_step, at.worse = figure, at.step, 0
        return memory._replace(best=memory.mean), at
    at.worse += 1
    if job.schedule.decay == "plateau" and at.worse % schedule.PLATEAU_PATIENCE == 0:
        at.scale *= schedule.PLATEAU_FACTOR
    return memory, at


def _collapsed(memory: Memory, at: Progress, fresh, report: Report):
    """Back to the best weights, and slower; three times."""
    at.collapses, at.scale, at.loss_sum, at.losses = at.collapses + 1, at.scale * 0.3, 0.0, 0
    if at.collapses > COLLAPSES:
        raise TrainerError("the training diverges again and again; lower learning_rate, and look at the recordings")
    text = "the training has diverged; going on from the best weights with a third of the learning rate"
    report({"event": "warning", "what": "divergence", "text": text, "step": at.step})
    state = jax.tree.map(jnp.zeros_like, memory.state)
    return Memory(memory.best, fresh, state, memory.best, memory.best), at


def _warnings(plan, at: Progress, found: Found, done: float) -> list[tuple[str, str]]:
    said = []
    if done > max(0.1, plan.early) and found.polarity < -0.2:
        said.append(("polarity", "the model plays upside down; a magnitude loss cannot hear it: raise early"))
    if done > 0.3 and found.power > LOUD:
        louder = 10 * np.log10(found.power)
        said.append(("loudness", f"the model is {louder:.1f} dB louder than its target; look at the recordings"))
    if done > 0.3 and (at.step - at.best_step) > PATIENT * at.step:
        said.append(("plateau", f"no better since step {at.best_step}; more material or a larger network may help"))
    return said


# --- what is said and kept --------------------------------------------------------------------------------------------


def _opening(job: Job, layout: batches.Layout, run: Run, at: Progress) -> dict:
    parts = {part: round(sum(len(pair.dry) - pair.lead for pair in pairs) / pairs[0].rate, 2)
             for part, pairs in job.pairs._asdict().items() if pairs}  # fmt: skip
    return {
        "event": "start", "recipe": run.recipe, "preset": run.preset, "network": described(job.effect),
        "parameters": _parameters(job.effect), "receptive_field": job.effect.receptive_field, "seconds": parts,
        "segment": layout.segment, "batch": layout.batch, "devices": [str(device) for device in jax.devices()],
        "step": at.step, "resumed": at.step > 0,
    }  # fmt: skip


def _placed(memory: Memory) -> Memory:
    """Weights on every device, the state dealt out."""
    everywhere, _ = forward.placed()
    whole = jax.device_put(memory._replace(state=()), everywhere)
    return whole._replace(state=forward.dealt(memory.state))


def _parameters(effect) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(effect, nnx.Param)))


def _line(plan, layout, at: Progress, found: Found, pace: float, rate: int) -> dict:
    """One validation. `rate` is recordings' time learned from over time spent."""
    done = schedule.progress(plan, at.step, at.elapsed)
    learned = at.step * layout.batch * layout.segment / layout.chunks / rate
    return {
        "event": "validation", "step": at.step, "loss": at.loss_sum / max(1, at.losses), "esr": found.esr,
        "validation_loss": found.loss, "best": at.figure, "by_name": found.by_name, "learning_rate": pace,
        "seconds": round(at.elapsed, 2), "rate": round(learned / max(at.elapsed, 1e-9), 2),
        "eta": round(at.elapsed / max(done, 1e-6) - at.elapsed, 1), "done": round(done, 4),
    }  # fmt: skip


def _keep(run: Run, structure, rest, memory: Memory, at: Progress, digest: str, saved: Path, report: Report, drawn):
    """The checkpoint, then the best weights as a model file: each whole or not at all."""
    checkpoint.save(saved, memory, {"run": digest, "progress": msgspec.to_builtins(at)})
    fresh = at.best_step != at.kept_step
    if fresh:
        at.kept_step = at.best_step
        finish.kept(run, nnx.merge(structure, memory.best, rest), at)
    report({"event": "checkpoint", "step": at.step, "out": run.out})
    if fresh and (picture := drawn(memory.best)):
        report({"event": "spectrum", "step": at.best_step} | picture)


def _restored(saved: Path, like: Memory, digest: str) -> tuple[Memory, Progress]:
    memory, record = checkpoint.load(saved, like)
    if record.get("run") != digest:
        raise TrainerError(f"{saved}: belongs to another run; delete it, or give this run another out")
    return memory, msgspec.convert(record["progress"], Progress, strict=False)


def print_line(record: dict) -> None:
    """One JSON object a line on standard output, at once."""
    print(json.dumps(record), file=sys.stdout, flush=True)
