"""Recipes: for each kind of run a network, a loss and a schedule; the papers' own by name, and quick ones for CPUs.

capture       one setting of a device
parametric    a device with knobs
steer         one example pair; the controls of the network are left to chance (Steinmetz and Reiss, 2021)
conditioning  a known effect whose amount follows the knob by one of the SuperKnob paper's strategies
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxmodels import load
from jaxmodels.convnet import ConvNet
from jaxmodels.convstack import ConvStack
from jaxmodels.effect import Effect, Knob
from jaxmodels.levels import loudest
from jaxmodels.recurrent import GRU, LSTM
from jaxmodels.settings import checked
from jaxmodels.tcn import MicroTCN, SteerableTCN
from jaxmodels.wavenet import PRESETS as WAVENETS
from jaxmodels.wavenet import WaveNet

from . import batches, config, data, reference, tcn
from .config import Run, Schedule, TrainerError
from .losses import Loss, weighted

NETWORKS: dict[str, type] = {
    "lstm": LSTM,
    "gru": GRU,
    "conv_stack": ConvStack,
    "conv_net": ConvNet,
    "steerable_tcn": SteerableTCN,
    "micro_tcn": MicroTCN,
    "wavenet": WaveNet,
}
RECURRENT = ("lstm", "gru")
HEARD = 1 << 18  # samples at most of what first weights are set by
COLUMNS = ("lstm", "gru", "conv_stack")  # networks whose knobs are further inputs; those of the others modulate


class Preset(NamedTuple):
    """What a run does not say itself."""

    network: dict[str, Any]
    loss: dict[str, float]
    schedule: dict[str, Any]
    preemphasis: str | float | None = None


class Job(NamedTuple):
    """A run, ready to begin."""

    effect: Effect
    pairs: data.Split
    loss: Loss
    schedule: Schedule
    figure: str  # what the best weights are chosen by: esr or loss
    rates: Any = None  # times the learning rate, of each weight; None: 1


ESR_DC = {"esr": 0.75, "dc": 0.25}
STEERED = {"mr_stft_steer": 1.0}
LSTM16 = {"kind": "lstm", "hidden": 16}
CONV1D = Preset(  # the SuperKnob paper's comparison
    {"kind": "conv_stack"}, ESR_DC, {"batch": 16, "segment": 8192, "learning_rate": 3e-3}, 0.85
)
QUICK = {"learning_rate": 1e-2, "batch": 30, "chunk": 1024}  # more and smaller steps than the papers': much quicker

# Wright, Damskaegg and Valimaki (DAFx 2019), as CoreAudioML trains.
WRIGHT = Preset(
    {"kind": "lstm", "hidden": 32},
    ESR_DC,
    {"batch": 50, "segment": 22050, "chunk": 2048, "warm_up": 1000, "learning_rate": 5e-3, "weight_decay": 1e-4,
     "decay": "plateau", "rise": 0.0, "clip": 1e6, "seconds": 8 * 3600.0, "patience": 25},
    0.85,
)  # fmt: skip
# neural-amp-modeler's standard settings.
NAM = Preset(
    {"kind": "wavenet", "size": "standard"},
    {"mse": 1.0, "mr_stft": 2e-4},
    {"batch": 16, "segment": 8192, "learning_rate": 4e-3, "decay": "cosine", "rise": 0.0, "seconds": 8 * 3600.0},
)
# Steinmetz and Reiss (AES 152): MAE + STFT.
MICRO = Preset(
    {"kind": "micro_tcn"},
    {"mae": 1.0, "stft": 1.0},
    {"batch": 32, "segment": 65536, "learning_rate": 3e-4, "decay": "plateau", "seconds": 8 * 3600.0},
)
# steerable-nafx: one crop of 5.18 s, 2,500 steps.
STEER = Preset(
    {"kind": "steerable_tcn", "blocks": 4, "width": 32},
    STEERED,
    {"steps": 2500, "seconds": 0.0, "batch": 1, "segment": 228308, "fixed": True, "learning_rate": 1e-3,
     "decay": "drops", "rise": 0.0, "clip": 1e6, "early": 0.3, "choose": "last"},
)  # fmt: skip
# The mean of the weights of a rate that stays up is nearer on other sound than where a falling rate ends.
QUICK_STEER = {"seconds": 85.0, "batch": 1, "segment": 32768, "learning_rate": 6e-3, "decay": "constant",
               "average": 0.12, "early": 0.3, "choose": "last", "standardise": True}  # fmt: skip

PRESETS: dict[str, dict[str, Preset]] = {
    "capture": {
        "fast": Preset(LSTM16, ESR_DC, QUICK, 0.85),
        "lstm": WRIGHT,
        "conv1d": CONV1D,
        "tcn": Preset(
            {"kind": "conv_net", "channels": 16, "dilations": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)},
            ESR_DC,
            {"batch": 16, "segment": 8192, "learning_rate": 5e-3},
            0.85,
        ),
        # Steps a quarter as large as NAM's: what a CPU does in five minutes comes much nearer so.
        "wavenet": Preset(NAM.network, NAM.loss, NAM.schedule | {"batch": 4, "seconds": 300.0}),
        "nam": NAM,
    },
    "parametric": {
        "fast": Preset(LSTM16, ESR_DC, QUICK | {"seconds": 600.0}, 0.85),
        "lstm": WRIGHT,
        "conv1d": CONV1D,
        "micro_tcn": MICRO,
        "steerable_tcn": Preset({"kind": "steerable_tcn"}, {"mae": 1.0, "mr_stft": 1.0}, MICRO.schedule),
    },
    "steer": {
        "fast": Preset({"kind": "steerable_tcn", "blocks": 4, "width": 16}, STEERED, QUICK_STEER),
        "paper": STEER,
        "reverb": Preset(
            {"kind": "steerable_tcn", "blocks": 5, "width": 16},
            STEERED,
            QUICK_STEER | {"seconds": 300.0, "segment": 131072},
        ),
        "reverb_paper": Preset({"kind": "steerable_tcn", "blocks": 5, "width": 32}, STEERED, STEER.schedule),
    },
    "conditioning": {
        # Effects that follow the knob up and down again are learned as soon as one that only grows.
        "fast": Preset(LSTM16 | {"taper": True}, ESR_DC, QUICK, 0.85),
        "paper": Preset(LSTM16, ESR_DC, WRIGHT.schedule, 0.85),
        "conv1d": CONV1D,
    },
}


def prepare(run: Run) -> Job:
    """Everything a run needs, from its files. Raises TrainerError."""
    preset = _preset(run)
    schedule = config.schedule(preset.schedule, run)
    pairs = recordings(run)
    parts, rates = divided(pairs, run, context=pairs[0].rate), None
    places = {name: np.unique([pair.knobs[name] for pair in parts.train]) for name in data.knob_names(pairs)}
    controls = 0 if pairs[0].control is None else pairs[0].control.shape[1]
    settings = preset.network if _kind(run) == preset.network["kind"] else {}
    effect = network(settings | run.network, places, controls, pairs[0].rate, run.seed)
    if schedule.standardise:
        effect, rates = standardised(effect, parts.train)
    if run.start_from:
        effect = started(effect, run.start_from)
    loss = weighted(run.loss or preset.loss, preset.preemphasis if run.preemphasis is None else run.preemphasis,
                    pairs[0].rate)  # fmt: skip
    return Job(effect, parts, loss, schedule, "loss" if run.recipe == "steer" else "esr", rates)


def recurrent(run: Run) -> bool:
    """Whether a run's network carries a state from sample to sample. Raises TrainerError where there is no preset."""
    return _kind(run) in RECURRENT


def _kind(run: Run) -> Any:
    return run.network.get("kind", _preset(run).network["kind"])


def _preset(run: Run) -> Preset:
    presets = PRESETS[run.recipe]
    if run.preset not in presets:
        raise TrainerError(f"preset {run.preset!r}: {run.recipe} has: {', '.join(presets)}")
    return presets[run.preset]


def recordings(run: Run) -> list[data.Pair]:
    """All the recordings of a run, whole."""
    d = run.data
    if run.recipe == "conditioning" or d.effect:
        if not (d.effect and d.dry):
            raise TrainerError("conditioning: [data] needs dry and effect")
        return reference.pairs(d, run.strategy if run.recipe == "conditioning" else "linear", run.seed)
    if d.folder:
        return data.read_folder(
            d.folder, rate=d.rate, channel=d.channel, delay=d.delay, piece=d.piece, ranges=d.ranges, force=d.force
        )
    return [
        data.read_pair(
            d.dry, d.wet, rate=d.rate, channel=d.channel, delay=d.delay, piece=d.piece, control=d.control or None,
            force=d.force,
        )
    ]  # fmt: skip


def divided(pairs: Sequence[data.Pair], run: Run, context: int) -> data.Split:
    """Parts to learn from, to choose by and to test; what is left out is only tested."""
    parts = data.split(pairs, run.data.validation, run.data.test, context=context)
    for name, value in run.data.leave_out.items():
        if name not in pairs[0].knobs:
            raise TrainerError(f"leave_out: no knob {name!r}; there are: {', '.join(pairs[0].knobs) or 'none'}")
        keep = [pair for pair in pairs if abs(pair.knobs[name] - value) > 1e-6]
        seen = {pair.name for pair in keep}
        train, choose = ([pair for pair in part if pair.name in seen] for part in parts[:2])
        parts = data.Split(train, choose, parts.test or [pair for pair in pairs if pair.name not in seen])
    if not parts.train:
        raise TrainerError("data: nothing is left to learn from; lower validation, test or leave_out")
    return parts


def network(settings: dict[str, Any], places: Mapping[str, np.ndarray], controls: int, rate: int, seed: int) -> Effect:
    """A network with fresh weights. `places`: its knobs, and the positions at which each has been recorded.

    taper = true: a knob is heard by a curve with a point at each of these. Raises TrainerError naming the setting.
    """
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    kind, taper = settings.pop("kind"), False
    if kind in RECURRENT:
        taper = settings.pop("taper", False)
        if not isinstance(taper, bool):
            raise TrainerError(f"network: taper = {taper!r}: must be true or false")
    if kind not in NETWORKS:
        raise TrainerError(f"network: kind = {kind!r}: must be one of {', '.join(NETWORKS)}")
    cls, rngs = NETWORKS[kind], nnx.Rngs(seed)
    made = tuple(Knob(name) for name in [*places, *(f"lfo {n + 1}" if n else "lfo" for n in range(controls))])
    if kind == "wavenet":
        size = settings.pop("size", "standard")
        if settings or size not in WAVENETS:
            raise TrainerError(f"network: a wavenet has only a size, one of {', '.join(WAVENETS)}")
        if made:
            raise TrainerError("network: a wavenet is trained without knobs here; use lstm, gru or a TCN")
        return cls(WAVENETS[size], sample_rate=rate, rngs=rngs)
    own: dict[str, Any] = {}
    if kind != "conv_net":
        own = {"inputs": 1 + len(made)} if kind in COLUMNS else {"controls": max(1, len(made))}
    if taper and places:
        own["taper"] = (*map(len, places.values()), *[0] * controls)
    if kind == "steerable_tcn" and not made:
        own["controls"] = settings.pop("controls", 2)
    try:
        full = checked(kind, cls.Settings, settings | own)
        effect = cls(full, knobs=made or None, sample_rate=rate, rngs=rngs)
    except ValueError as error:
        raise TrainerError(f"network: {error}") from None
    if taper:
        for k, recorded in enumerate(places.values()):
            for what in ("places", "heard"):  # a straight line at first
                effect.tapers[str(k)][what][...] = jnp.asarray(recorded, jnp.float32)
    return effect


def standardised(effect: Effect, pairs: Sequence[data.Pair]) -> tuple[Effect, Any]:
    """First weights by the recordings, and how far a step is to move each. Raises TrainerError for other networks."""
    if not isinstance(effect, SteerableTCN):
        kind = type(effect).__name__
        raise TrainerError(f"schedule: standardise = true: a {kind} has no such start; say standardise = false")
    found = batches.pieces(pairs, effect)
    sides = (np.concatenate([piece.x[:, 0] for piece in found]), np.concatenate([piece.y for piece in found]))
    levels = tcn.Levels(*(float(np.sqrt(np.mean(side**2))) + 1e-5 for side in sides))
    piece = max(found, key=lambda piece: float(np.mean(piece.x[:, 0] ** 2)))
    at, context = loudest(piece.x[:, 0], HEARD), effect.receptive_field - 1
    x = jnp.asarray(batches.take(piece.x, at - context, at + HEARD)[None])
    return tcn.standardised(effect, x, levels), tcn.rates(effect, levels)


def started(effect: Effect, path: str) -> Effect:
    """The network of a file, to go on from. Raises TrainerError where it is another architecture."""
    found = load(path)
    if type(found) is not type(effect) or found.settings != effect.settings or found.knobs != effect.knobs:
        raise TrainerError(f"{path}: is another network than the run's; give [network] its settings")
    if found.sample_rate != effect.sample_rate:
        raise TrainerError(f"{path}: runs at {found.sample_rate} Hz, the recordings at {effect.sample_rate} Hz")
    return found


def reroll(effect: Effect, seed: int) -> SteerableTCN:
    """New controls for the same neutral sound: steering leaves the weights of the controls as they were drawn."""
    if not isinstance(effect, SteerableTCN):
        raise TrainerError(f"reroll: a {type(effect).__name__} was not steered; only a SteerableTCN has such controls")
    weights, rng = effect.weights(), np.random.default_rng(seed)
    bound = effect.settings.controls**-0.5
    for name in [name for name in weights if name.endswith("film.adaptor.weight")]:
        weights[name] = rng.uniform(-bound, bound, weights[name].shape).astype(np.float32)
    return SteerableTCN(effect.settings, knobs=effect.knobs, sample_rate=effect.sample_rate, weights=weights)


def described(effect: Effect) -> dict[str, Any]:
    """A network in words that JSON knows."""
    return {"kind": type(effect).__name__, "settings": dataclasses.asdict(effect.settings)}
