"""From the words of a rack to a box: kinds of the table, model files, and two model files side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import msgspec
import numpy as np

from jaxmodels import ModelFileError, inspect, load
from jaxmodels.blend import Alignment, Blend, BlendSettings, Through, align, remarks
from jaxmodels.boxes import make
from jaxmodels.dsp.resample import at_rate
from jaxmodels.effect import Effect
from jaxmodels.evened import Evened, makeup_db, steered
from jaxmodels.formats import Facts
from jaxmodels.levels import CaptureSettings, Interface, Levels, Play, gains, loudness_db, response
from jaxmodels.settings import checked
from rack.catalogue import KnobInfo
from rack.config import BLEND, MODEL
from rack.paths import cache_folder, write_atomically
from rack.protocol import BoxSpec

from . import memo

T = TypeVar("T")
BY_HAND = ("model", "polarity", "align", "delay")  # settings of a blend that say nothing about how its models sound


class Made(NamedTuple):
    """A box, and what a person wants to know about the files in it."""

    effect: Effect
    sample_rate: int | None = None  # Hz, of the model itself
    input_db: float | None = None  # the largest fixed gain before a capture; None: there is no capture
    remarks: tuple[str, ...] = ()


def box_for(spec: BoxSpec, rate: int, channels: int, interface: Interface = Interface()) -> Effect:
    """The box of a slot, at the rack's rate and width. Raises ValueError or OSError in words for the musician."""
    return made(spec, rate, channels, interface).effect


def made(spec: BoxSpec, rate: int, channels: int, interface: Interface = Interface(), play: Play = response) -> Made:
    """The same, with what was found out about its files; `play` is how a capture is heard when it is measured."""
    if spec.type == MODEL:
        return _capture(spec.model, checked(MODEL, CaptureSettings, spec.settings), rate, channels, interface, play)
    if spec.type == BLEND:
        return _blend(checked(BLEND, BlendSettings, spec.settings), rate, channels, interface, play)
    effect = make(spec.type, spec.settings, sample_rate=rate, channels=channels)
    return Made(effect, effect.sample_rate)


def _capture(path: str, settings: CaptureSettings, rate: int, channels: int, interface: Interface, play: Play) -> Made:
    """A model file with its levels; "" is the dry signal."""
    options = {
        "sample_rate": settings.sample_rate or None,
        "submodel": None if settings.submodel < 0 else settings.submodel,
        "fast_tanh": settings.fast_tanh,
    }
    model, facts = (load(path, **options), _facts(path)) if path else (Through(), Facts())
    evened = ()
    if settings.auto_gain and steered(model):
        net = model
        makeup = np.array(_kept(("make-up", _content(path), options), list, lambda: makeup_db(net).tolist()))
        model, evened = Evened(net, makeup), (f"auto-gain {makeup.min():+.1f} to {makeup.max():+.1f} dB",)
    box = at_rate(model, rate, channels)

    def levels(input_db: float = 0.0, output_db: float = 0.0) -> Levels:
        inverted, delay = settings.polarity == "inverted", settings.delay_samples
        return Levels(box, input_db=input_db, output_db=output_db, inverted=inverted, delay=delay)

    def measured() -> float:
        return _kept(("loudness", _content(path), options), float, lambda: loudness_db(levels(), rate, play))

    found = gains(settings.level, facts, interface, measured)
    effect = levels(found.input_db, found.output_db)
    own = model.sample_rate
    resampled = (f"trained at {own} Hz, resampled to {rate} Hz",) if own not in (None, rate) else ()
    return Made(effect, own, found.input_db if path else None, (*resampled, *evened, *found.remarks))


def _blend(settings: BlendSettings, rate: int, channels: int, interface: Interface, play: Play) -> Made:
    """Two model files side by side, measured and lined up."""
    legs, words = [], []
    for side in ("a", "b"):
        said = {name: getattr(settings, f"{name}_{side}") for name in ("level", "sample_rate", "submodel")}
        own = CaptureSettings(**said, fast_tanh=settings.fast_tanh, auto_gain=settings.auto_gain)
        legs.append(_capture(getattr(settings, f"model_{side}"), own, rate, channels, interface, play))
        words += [f"{side}: {remark}" for remark in legs[-1].remarks]
    a, b = legs
    contents = (_content(settings.model_a), _content(settings.model_b))
    heard = {name: value for name, value in asdict(settings).items() if not name.startswith(BY_HAND)}
    key = ("alignment", contents, heard, rate, asdict(interface))
    found = _kept(key, Alignment, lambda: align(a.effect, b.effect, rate, play))
    if settings.align == "off":
        found = found._replace(lag=b.effect.latency - a.effect.latency)
    if settings.polarity != "auto":
        found = found._replace(sign=-1 if settings.polarity == "b inverted" else 1)
    effect = Blend(a.effect, b.effect, found, delay_a=settings.delay_a, delay_b=settings.delay_b)
    calibrated = [leg.input_db for leg in legs if leg.input_db is not None]
    said = remarks(found, rate) if settings.align == "auto" else ("a and b are not lined up",)
    return Made(effect, None, max(calibrated, default=None), (*words, *said))


def _facts(path: str) -> Facts:
    """What a model file says of itself; nothing, where its format says nothing."""
    try:
        return inspect(path)[1]
    except ModelFileError:
        return Facts()


def _content(path: str) -> str:
    """A word for what is in a model file, or in a folder that is one."""
    if not path:
        return ""
    file = Path(path)
    digest = hashlib.sha256()
    for part in sorted(p for p in file.iterdir() if p.is_file()) if file.is_dir() else [file]:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def _kept(key: tuple, kind: type[T], measure: Callable[[], T]) -> T:
    """What was measured once, from the disk; the code that measured it is a part of the key."""
    digest = hashlib.sha256(msgspec.json.encode((memo.makers(), key))).hexdigest()[:32]
    path = cache_folder() / "programs" / f"{digest}.measured"
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    value = measure()
    with suppress(OSError):
        write_atomically(path, msgspec.json.encode(value))
    return value


def knob_infos(effect: Effect) -> tuple[KnobInfo, ...]:
    """A box's knobs for the processes that never import JAX."""
    return tuple(
        KnobInfo(knob.name, knob.unit, knob.low, knob.high, knob.default, knob.curve, knob.labels)
        for knob in effect.knobs
    )


def parameters(effect: Effect) -> int:
    """How many numbers are in a box's weights."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(effect))
