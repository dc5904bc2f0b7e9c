"""Offline rendering: a file through a rack or one model, by the very function that plays live."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import soundfile
from jax import lax

from jaxmodels.dsp.resample import convert
from jaxmodels.effect import Effect
from jaxmodels.levels import Interface
from rack import config, paths
from rack.catalogue import catalogue
from rack.errors import RackError
from rack.protocol import BoxSpec
from rack.shared import KNOBS

from .boxes import box_for, knob_infos
from .row import initial_state, row_step

CHUNK_S = 4.0  # audio rendered by one call, for the progress bar's sake
LONG_S = 10.0  # files from this length on get a progress bar


class Placed(NamedTuple):
    """A box of the row with its knobs' positions, and whether it is on."""

    effect: Effect
    positions: np.ndarray
    on: bool = True


def render(
    row: Sequence[Placed], x: np.ndarray, rate: int, block: int = 512, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """The signal `[N, C]` through a row of boxes with their knobs at rest; `[N, C]`, the row's latency trimmed.

    `block` changes nothing but the speed. `progress` is told how much is done, 0..1.
    """
    effects = tuple(placed.effect for placed in row)
    latency = sum(effect.latency for effect in effects)
    samples, channels = x.shape
    states = tuple(initial_state(p.effect, p.positions, p.on, block) for p in row)
    states = jax.tree.map(jnp.array, states)  # buffers of their own: they are donated
    targets = np.zeros((len(row), KNOBS), np.float32)
    for place, p in zip(targets, row, strict=True):
        place[0] = p.on
        place[1 : 1 + len(p.positions)] = p.positions
    blocks = max(1, round(CHUNK_S * rate / block))
    chunk = blocks * block
    padded = np.zeros((-(-(samples + latency) // chunk) * chunk, channels), np.float32)
    padded[:samples] = x
    done = []
    for at in range(0, len(padded), chunk):
        cut = padded[at : at + chunk].reshape(blocks, block, channels)
        y, states = _chunk(effects, states, cut, targets, rate)
        done.append(np.asarray(y).reshape(chunk, channels))
        if progress:
            progress(min(1.0, (at + chunk) / (samples + latency)))
    return np.concatenate(done)[latency : latency + samples]


@partial(jax.jit, static_argnums=4, donate_argnums=1)
def _chunk(effects, states, blocks, targets, rate):
    def one(states, x):
        y, states, _ = row_step(effects, rate, states, x, x, targets)
        return states, y

    states, y = lax.scan(one, states, blocks)
    return y, states


def place(slot: config.Slot, rate: int, channels: int, interface: Interface = Interface()) -> Placed:
    """The box of a slot of racks.toml, its knobs where the slot says. Raises RackError in words."""
    try:
        effect = box_for(BoxSpec(slot.type, slot.model, slot.settings), rate, channels, interface)
    except (ValueError, OSError) as error:
        raise RackError(f"{slot.id}: {error}") from None
    knobs = {knob.name: knob for knob in knob_infos(effect)}
    values = {name: knob.default for name, knob in knobs.items()}
    for name, value in slot.knobs.items():
        if name not in knobs:
            raise RackError(f"{slot.id}: no knob {name!r}; it has: {', '.join(knobs) or 'no knobs'}")
        try:
            values[name] = knobs[name].parse(str(value))
        except ValueError as error:
            raise RackError(f"{slot.id}.{error}") from None
    positions = np.array([knobs[name].position(value) for name, value in values.items()], np.float32)
    return Placed(effect, positions, not slot.bypass)


def row_of(rack: config.Rack, rate: int, channels: int, interface: Interface = Interface()) -> list[Placed]:
    """A whole rack as it plays live: its slots, but for those that cannot be played, and the limiter at its end."""
    slots = [slot for slot in rack.slots if not slot.error]
    return [place(slot, rate, channels, interface) for slot in (*slots, config.Slot("limiter", config.LIMITER))]


def turned(slots: Sequence[config.Slot], knobs: Sequence[str]) -> tuple[config.Slot, ...]:
    """Slots with `--knob` arguments applied: SLOT.KNOB=VALUE, or KNOB=VALUE where there is only one slot."""
    by_id = {slot.id: slot for slot in slots}
    for argument in knobs:
        name, equals, value = argument.partition("=")
        slot, dot, knob = name.rpartition(".") if len(by_id) > 1 else (next(iter(by_id), ""), ".", name)
        if not equals or not dot or slot not in by_id:
            form = "SLOT.KNOB=VALUE" if len(by_id) > 1 else "NAME=VALUE"
            raise RackError(f"--knob {argument}: must be {form}; slots here: {', '.join(by_id)}")
        old = by_id[slot]
        by_id[slot] = msgspec.structs.replace(old, knobs=old.knobs | {knob: value})
    return tuple(by_id.values())


def read(path: str) -> tuple[np.ndarray, int]:
    """A sound file as `[N, 1 or 2]` float32 and its rate. Raises RackError."""
    try:
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise RackError(f"{path}: cannot be read as sound: {error}") from None
    if len(x) == 0:
        raise RackError(f"{path}: holds no sound")
    if x.shape[1] > 2:
        raise RackError(f"{path}: has {x.shape[1]} channels; a rack plays one or two")
    if not np.isfinite(x).all():
        raise RackError(f"{path}: holds samples that are not numbers; export it again")
    return x, rate


def write(path: str, y: np.ndarray, rate: int) -> None:
    """A 32-bit float WAV, whole or not at all. Raises RackError."""
    target = Path(path)
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        os.close(handle)
        soundfile.write(name, y, rate, subtype="FLOAT", format="WAV")
        os.chmod(name, 0o644)
        os.replace(name, target)
    except (OSError, soundfile.SoundFileError) as error:
        Path(name).unlink(missing_ok=True) if name else None
        raise RackError(f"{path}: cannot be written: {error}") from None


def main(args: argparse.Namespace) -> int:
    """`nafx-rack render IN OUT (--rack NAME | --model FILE) [--knob ...] [--block N] [--rate R]`."""
    x, rate = read(args.input)
    if args.rate and args.rate != rate:
        x, rate = convert(x, rate, args.rate), args.rate
    if args.model:
        slot = config.Slot("model", config.MODEL, model=str(Path(args.model).absolute()))
        row = [place(s, rate, x.shape[1]) for s in turned((slot,), args.knob)]
    else:
        rack = find_rack(args.rack)
        x = to_channels(x, rack.channels)
        slots = turned(rack.slots, args.knob)
        row = row_of(config.Rack(channels=rack.channels, slots=slots), rate, rack.channels, interface())
    long = len(x) > LONG_S * rate and sys.stderr.isatty()
    y = render(row, x, rate, args.block, _bar if long else None)
    write(args.output, y, rate)
    return 0


def find_rack(name: str) -> config.Rack:
    """A rack by its name, from the user's racks.toml or the shipped ones. Raises RackError."""
    known: dict[str, config.Rack] = {}
    for path in (paths.shipped_racks(), paths.racks_path()):
        if path.exists():
            known |= config.load(path, catalogue())[0].racks
    if name not in known:
        raise RackError(f"no rack is called {name!r}; there are: {', '.join(known)}")
    return known[name]


def interface() -> Interface:
    """The levels of the user's sound card, for racks that are played as they sound live."""
    path = paths.racks_path()
    audio = config.load(path, catalogue())[0].audio if path.exists() else config.Audio()
    return Interface(audio.input_level_dbu, audio.output_level_dbu)


def to_channels(x: np.ndarray, channels: int) -> np.ndarray:
    """A signal on as many channels as the rack has: one copied to both, two as their mean."""
    if x.shape[1] == channels:
        return x
    return np.repeat(x, channels, axis=1) if channels > x.shape[1] else x.mean(axis=1, keepdims=True)


def _bar(share: float) -> None:
    width = 30
    full = round(share * width)
    bar = "#" * full + "." * (width - full)
    print(f"\r[{bar}] {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)
