"""The keys of one slot: its knobs, settings and model, changed by values as programs send them or people type them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from ..catalogue import SettingInfo
from ..checks import check_knob, check_setting, flag, text
from ..config import BLEND, MODEL, OF_FILES, Slot
from .state import State, World, knobs

OF_ONE_FILE = ("sample_rate", "submodel")  # settings of a model slot
OF_SECOND = ("sample_rate_b", "submodel_b")  # settings of a blend


def fresh(world: World, kind: str) -> dict[str, str]:
    """What is set on a slot that is added: one that plays captures is as loud as the next, whatever is put into it.

    A capture may be 30 dB louder than the one before it, and the louder one seems the better one. What racks.toml does
    not say stays raw, so a rack sounds as it was written.
    """
    infos = world.catalogue[kind].settings if kind in world.catalogue else ()
    return {info.name: "matched" for info in infos if "matched" in info.choices}


def slot_keys(state: State, world: World, slot: Slot) -> list[str]:
    """Every key below a slot, without its id."""
    turned = [knob.name for knob in knobs(state, world, slot)]
    words = ["bypass", "notes", *(("model", "model.step") if slot.type == MODEL else ())]
    return [*turned, *words, *(f"settings.{info.name}" for info in settings_of(world, slot))]


def settings_of(world: World, slot: Slot) -> tuple[SettingInfo, ...]:
    """What can be set on a box of this type."""
    return world.catalogue[slot.type].settings if slot.type in world.catalogue else ()


# --- Values as people type them ---------------------------------------------------------------------------------------


def on_off(value, now: bool) -> bool:
    """on, off, toggle; true and false; yes and no."""
    words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
    words["toggle"] = not now
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    try:
        return flag(value)
    except ValueError:
        raise ValueError("must be on, off or toggle") from None


def integer(value, what: str = "must be a whole number") -> int:
    """A whole number of at most a million, or its text."""
    if isinstance(value, str):
        try:
            value = int(value[:20])
        except ValueError:
            raise ValueError(what) from None
    if type(value) is not int or abs(value) > 1_000_000:
        raise ValueError(what)
    return value


def number(value, what: str) -> float:
    """A finite number, or its text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(what) from None
    if type(value) not in (int, float) or not abs(value) < 1e9:  # NaN is not less than anything
        raise ValueError(what)
    return float(value)


def _setting(info: SettingInfo, value):
    """A setting's value, parsed where it comes as text for something that is none."""
    if isinstance(value, str) and info.type != "str":
        try:
            value = {"int": int, "float": float, "bool": lambda v: on_off(v, False)}[info.type](value[:40])
        except (ValueError, OverflowError):
            pass  # the check says what is allowed
    return check_setting(info, value)


# --- One slot ---------------------------------------------------------------------------------------------------------


def change_slot(state: State, world: World, slot: Slot, name: str, value) -> Slot:
    """The slot after a change of one of its own keys."""
    if name == "bypass":
        return replace(slot, bypass=on_off(value, slot.bypass))
    if name == "notes":
        return replace(slot, notes=text(value))
    if name == "model":
        return playing(slot, _model(world, slot, value))
    if name == "model.step":
        return step_model(state, world, slot, integer(value, "must be 1 or -1"))
    there = {knob.name: knob for knob in knobs(state, world, slot)}
    if name in there:
        value = there[name].default if value == "default" else value
        return mended(slot, knobs={**slot.knobs, name: check_knob(there[name], value)})
    infos = {info.name: info for info in settings_of(world, slot)}
    setting = name.removeprefix("settings.")
    if setting in infos:
        checked = _setting(infos[setting], value)
        if isinstance(checked, str) and not infos[setting].choices:
            checked = (world.find(checked) if checked else "") or checked
        return mended(slot, settings={**slot.settings, setting: checked})
    if slot.type in OF_FILES and not there and "." not in name:
        raise ValueError("the knobs of this model are not known yet; it is still being read, or could not be")
    raise KeyError(name)


def mended(slot: Slot, **changes) -> Slot:
    """A slot with other values; what was wrong with the old ones in the file no longer counts."""
    return replace(slot, error="", unread=False, **changes)


def playing(slot: Slot, model: str) -> Slot:
    """A slot with another model; what was set because of the old file does not hold for it."""
    if model == slot.model:
        return mended(slot)
    kept = {name: value for name, value in slot.settings.items() if name not in OF_ONE_FILE}
    return mended(slot, model=model, settings=kept)


def _model(world: World, slot: Slot, value) -> str:
    if slot.type != MODEL:
        raise ValueError(f'only a slot of type "{MODEL}" plays a model file; this one is {slot.type}')
    found = world.find(text(value)) if value else ""
    if not found:
        raise ValueError("no such file")
    return found


def step_model(state: State, world: World, slot: Slot, step: int) -> Slot:
    """The next file of the folder or of the last search (a blend: of its second model); or the next seed."""
    infos = {info.name: info for info in settings_of(world, slot)}
    if slot.type == MODEL:
        files = state.audition if slot.model in state.audition else world.playable(slot.model)
        return playing(slot, _neighbour(files, slot.model, step))
    if slot.type == BLEND:
        first, second = (slot.settings.get(name, "") for name in ("model_a", "model_b"))
        chosen = _neighbour(world.playable(second or first), second, step)
        kept = {name: value for name, value in slot.settings.items() if name not in OF_SECOND}
        return mended(slot, settings={**kept, "model_b": chosen})
    if "ir" in infos:
        name = slot.settings.get("ir", infos["ir"].default)
        there = world.responses()
        path = world.find(name) or next((p for p in there if name and Path(p).stem == name), "")
        chosen = _neighbour(world.beside(path) if path else there, path, step)
        return mended(slot, settings={**slot.settings, "ir": chosen})
    if "seed" in infos:
        info = infos["seed"]
        low, high = int(info.low or 0), int(info.high if info.high is not None else 1 << 30)
        seed = low + (int(slot.settings.get("seed", info.default)) - low + step) % (high - low + 1)
        return mended(slot, settings={**slot.settings, "seed": seed})
    raise ValueError("this box plays no file; only models and impulse responses have a next one")


def _neighbour(files: Sequence[str], path: str, step: int) -> str:
    if not files:
        raise ValueError(f"there is no other file beside {path or '(none)'}")
    if path not in files:
        return files[0]
    return files[(files.index(path) + step) % len(files)]
