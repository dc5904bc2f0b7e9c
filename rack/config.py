"""racks.toml as values: what it may say, and everything that can be wrong with it, in words.

`load` never gives up on a whole file because of one line: what is wrong becomes a Problem, the slot it stands in is
left out of the sound with the reason, and the rest plays. `rack.tomlfile.save` writes racks back.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from .catalogue import BoxInfo, SettingInfo
from .checks import (
    AUDIO,
    check_knob,
    check_setting,
    find_file,
    flag,
    good_id,
    good_name,
    nearest,
    one_of,
    shown,
    slot_ids,
    text,
    tidy,
    whole,
)
from .errors import RackError
from .examples import Snapshots, SuperKnob
from .teachfile import SECTIONS
from .teachfile import read as taught
from .tomllines import Lines

Catalogue = dict[str, BoxInfo]

MODEL = "model"  # the type of a slot that plays a model file
BLEND = "blend"  # and of one that plays two of them, named in its settings
OF_FILES = (MODEL, BLEND)  # types whose knobs come with their files
LIMITER = "limiter"  # stands at the end of every rack, put there by the server
MOST_SLOTS = 24
MOST_KNOBS = 31


class ConfigError(RackError):
    """The file as a whole cannot be read or written."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong in a file: where, what stands there, and what is allowed."""

    file: str
    line: int  # from 1; 0 where it is not known
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line or '?'}: {self.key}{self.text}"


class Slot(msgspec.Struct, frozen=True):
    """One box of a rack. Knobs that are not named stand at their default; values are in their units.

    Knobs of model files stay as they were written until the model has been read. A slot with an `error` is not played.
    """

    id: str
    type: str
    model: str = ""  # absolute path
    knobs: dict[str, float | str] = {}
    settings: dict[str, Any] = {}
    bypass: bool = False
    notes: str = ""
    error: str = ""
    unread: bool = False  # a model's knobs, not yet compared with the model


class Rack(msgspec.Struct, frozen=True):
    """A preset: a whole rack. `xy` names the two knobs of the XY pad as "slot.knob"."""

    title: str = ""
    notes: str = ""
    channels: int = 2
    xy: tuple[str, str] = ("", "")
    slots: tuple[Slot, ...] = ()
    superknob: SuperKnob = SuperKnob()
    snapshots: Snapshots = Snapshots()


class Audio(msgspec.Struct, frozen=True):
    """The sound device; "" is the system's default."""

    backend: str = "auto"
    input_device: str = ""
    output_device: str = ""
    inputs: tuple[int, ...] = (1,)
    outputs: tuple[int, ...] = (1, 2)
    rate: int = 48000
    block: int = 64
    input_level_dbu: float | None = None  # of a 1 kHz sine with peaks at 0 dBFS, at the card's input; None: not known
    output_level_dbu: float | None = None  # the same at its output


class SourceChoice(msgspec.Struct, frozen=True):
    """What the rack hears: the device's input, a built-in loop, or a sound file, looped."""

    kind: str = "loop"
    path: str = ""

    @property
    def word(self) -> str:
        """As the key `source` takes it: input, loop or file:PATH."""
        return f"file:{self.path}" if self.kind == "file" else self.kind


class Racks(msgspec.Struct, frozen=True):
    """All that racks.toml says."""

    rack: str = ""
    audio: Audio = Audio()
    source: SourceChoice = SourceChoice()
    racks: dict[str, Rack] = {}
    library: tuple[str, ...] = ()  # folders of model files, beside our own


# --- The file ---------------------------------------------------------------------------------------------------------


def load(path: Path, catalogue: Catalogue) -> tuple[Racks, tuple[Problem, ...]]:
    """Racks and whatever is wrong with them. Raises ConfigError where the file is no TOML at all, or unreadable."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse(raw, path, catalogue)


def parse(raw: bytes, path: Path, catalogue: Catalogue) -> tuple[Racks, tuple[Problem, ...]]:
    """As `load`, from bytes; `path` names the file in messages, and its folder is where models are looked for."""
    try:
        content = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        said = f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise ConfigError(f"{path.name}:{line}: {said}") from None
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).rpartition(" (at ")
        line = place.removeprefix("line ").split(",")[0] if place.startswith("line ") else str(content.count("\n") + 1)
        remedy = "no rack of this file can be used until this is put right"
        raise ConfigError(f"{path.name}:{line}: {said}; {remedy}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path.name}: this TOML cannot be read: {str(error)[:200]}") from None
    reader = _Reader(path, Lines(content), catalogue)
    return reader.racks(table), tuple(reader.problems)


class _Reader:
    """Walks through the tables of one file and writes down what is wrong."""

    def __init__(self, path: Path, lines: Lines, catalogue: Catalogue):
        self.path, self.lines, self.catalogue = path, lines, catalogue
        self.problems: list[Problem] = []

    def problem(self, where: tuple, key: str, said: str, *value) -> str:
        """Write down a problem at this place in the file; returns it without the file's name."""
        said = f" = {shown(value[0])}: {said}" if value else f": {said}"
        self.problems.append(Problem(self.path.name, self.lines.find(where), key, said))
        return f"{key}{said}"

    def table(self, value, where: tuple, key: str, known) -> tuple[dict, list[str]]:
        """A table that should have only these keys, and what is wrong with it."""
        if not isinstance(value, dict):
            return {}, [self.problem(where, key, "must be a table", value)]
        wrong = []
        for name in value:
            if name not in known:
                hint = nearest(name, known) or f"; known here: {', '.join(known)}"
                wrong.append(self.problem((*where, name), _join(key, name), f"unknown key{hint}"))
        return value, wrong

    def take(self, table: dict, name: str, check, default, where: tuple, key: str, wrong: list | None = None):
        """One value of a table, or its default where it is missing or wrong."""
        if name not in table:
            return default
        try:
            return check(table[name])
        except ValueError as error:
            said = self.problem((*where, name), _join(key, name), str(error), table[name])
            if wrong is not None:
                wrong.append(said)
            return default

    def racks(self, table: dict) -> Racks:
        self.table(table, (), "", ("rack", "audio", "source", "library", "racks"))
        audio, _ = self.table(table.get("audio", {}), ("audio",), "audio", tuple(AUDIO))
        defaults = Audio()
        audio = {k: self.take(audio, k, check, getattr(defaults, k), ("audio",), "audio") for k, check in AUDIO.items()}
        named = table.get("racks", {})
        if not isinstance(named, dict):
            self.problem(("racks",), "racks", "must be tables [racks.NAME]", named)
            named = {}
        racks = {name: self.rack(name, rack) for name, rack in named.items() if self.name(name)}
        if not racks:
            self.problem((), "racks", "there is no rack; write one as [racks.NAME] with [[racks.NAME.slots]] below it")
            racks = {"empty": Rack()}
        first = next(iter(racks))

        def known(value):
            if not isinstance(value, str) or value not in racks:
                raise ValueError(f"must be one of {', '.join(racks)}{nearest(value, racks)}")
            return value

        rack = self.take(table, "rack", known, first, (), "")
        return Racks(rack, Audio(**audio), self.source(table.get("source", {})), racks, self.library(table))

    def name(self, name: str) -> bool:
        if good_name(name):
            return True
        self.problem(("racks", name), _join("racks", name), "a rack's name is 1 to 64 printable characters")
        return False

    def library(self, table: dict) -> tuple[str, ...]:
        library, _ = self.table(table.get("library", {}), ("library",), "library", ("folders",))

        def folders(value):
            if not isinstance(value, list) or not all(isinstance(folder, str) and folder for folder in value):
                raise ValueError('must be a list of folders, as in ["~/captures"]')
            return tuple(str(self.path.parent.absolute() / Path(text(f)).expanduser()) for f in value)

        return self.take(library, "folders", folders, (), ("library",), "library")

    def source(self, value) -> SourceChoice:
        table, _ = self.table(value, ("source",), "source", ("kind", "path"))
        kind = self.take(table, "kind", one_of("loop", "input", "file"), "loop", ("source",), "source")
        path = self.take(table, "path", text, "", ("source",), "source")
        if kind != "file":
            return SourceChoice(kind)
        found = find_file(path, self.path.parent) if path else None
        if found is None:
            self.problem(("source", "path"), "source.path", "no such file; the built-in loop plays instead", path)
            return SourceChoice("loop")
        return SourceChoice("file", str(found))

    def rack(self, name: str, value) -> Rack:
        where, key = ("racks", name), _join("racks", name)
        table, _ = self.table(value, where, key, ("title", "notes", "channels", "xy", "slots", *SECTIONS))
        title = self.take(table, "title", text, "", where, key)
        notes = self.take(table, "notes", text, "", where, key)
        channels = self.take(table, "channels", whole(1, 2), 2, where, key)
        tables = table.get("slots", [])
        if not isinstance(tables, list):
            self.problem((*where, "slots"), f"{key}.slots", f"must be written as [[{key}.slots]]", tables)
            tables = []
        ids = slot_ids(tables)
        slots = tuple(self.slot((*where, "slots", i), f"{key}.slots", ids[i], t) for i, t in enumerate(tables))
        axes, _ = self.table(table.get("xy", {}), (*where, "xy"), f"{key}.xy", ("x", "y"))

        def target(value):
            if value == "":
                return ""
            return self.xy_target(value, slots)

        xy = tuple(self.take(axes, axis, target, "", (*where, "xy"), f"{key}.xy") for axis in "xy")
        return Rack(title, notes, channels, (xy[0], xy[1]), slots, *taught(self, table, where, key, slots))

    def xy_target(self, value, slots: tuple[Slot, ...]) -> str:
        named = {slot.id: slot for slot in slots}
        slot, _, knob = value.partition(".") if isinstance(value, str) else ("", "", "")
        if slot not in named or not knob:
            raise ValueError(f'must be "slot.knob" with a slot of this rack ({", ".join(named)}){nearest(slot, named)}')
        if named[slot].type in self.catalogue and named[slot].type not in OF_FILES:
            knobs = [k.name for k in self.catalogue[named[slot].type].knobs]
            if knob not in knobs:
                raise ValueError(f"{slot} has the knobs {', '.join(knobs) or '(none)'}{nearest(knob, knobs)}")
        return value

    def slot(self, where: tuple, key: str, name: str, value) -> Slot:
        keys = ("id", "type", "model", "knobs", "settings", "bypass", "notes")
        key = f"{key}.{name}"
        table, wrong = self.table(value, where, key, keys)
        own = self.take(table, "id", self.checked_id, name, where, key, wrong)
        if own != name:
            wrong.append(self.problem((*where, "id"), f"{key}.id", "another slot of this rack has this id", own))
        kind = self.take(table, "type", self.checked_type, "", where, key, wrong)
        if value is table and "type" not in table:
            wrong.append(self.problem(where, f"{key}.type", f"is missing; it is one of {', '.join(self.kinds())}"))
        model = self.take(table, "model", text, "", where, key, wrong)
        if kind == MODEL and table.get("model", "") == "":
            wrong.append(self.problem((*where, "model"), f"{key}.model", 'is missing; type "model" needs a model file'))
        elif kind and kind != MODEL and model:
            said = f'only type "{MODEL}" takes a model file'
            wrong.append(self.problem((*where, "model"), f"{key}.model", said, model))
        elif model:
            found = find_file(model, self.path.parent)
            if found is None:
                said = f"no such file in {self.path.parent} or among the shipped models"
                wrong.append(self.problem((*where, "model"), f"{key}.model", said, model))
            model = str(found or Path(self.path.parent.absolute(), model))
        knobs = self.knobs(table.get("knobs", {}), kind, (*where, "knobs"), f"{key}.knobs", wrong)
        settings = self.settings(table.get("settings", {}), kind, (*where, "settings"), f"{key}.settings", wrong)
        return Slot(
            id=name,
            type=kind or (table.get("type") if isinstance(table.get("type"), str) else "") or "",
            model=model,
            knobs=knobs,
            settings=settings,
            bypass=self.take(table, "bypass", flag, False, where, key, wrong),
            notes=self.take(table, "notes", text, "", where, key, wrong),
            error=wrong[0] if wrong else "",
            unread=kind in OF_FILES,
        )

    def kinds(self) -> list[str]:
        return sorted({MODEL, *self.catalogue} - {LIMITER})

    def checked_id(self, value) -> str:
        if not isinstance(value, str) or not good_id(value):
            raise ValueError("must be a word of letters, digits, - and _, beginning with a letter, and no word of ours")
        return value

    def checked_type(self, value) -> str:
        if value == LIMITER:
            raise ValueError("every rack ends in a limiter already")
        if not isinstance(value, str) or value not in self.kinds():
            raise ValueError(f"no such box{nearest(value, self.kinds())}; there are {', '.join(self.kinds())}")
        return value

    def knobs(self, value, kind: str, where: tuple, key: str, wrong: list[str]) -> dict[str, float | str]:
        if kind in OF_FILES or kind not in self.catalogue:
            table, _ = self.table(value, where, key, value)

            def unread(value):
                if type(value) not in (int, float, str) or isinstance(value, float) and not math.isfinite(value):
                    raise ValueError("must be a number, or a text with a unit")
                return value if isinstance(value, str) else tidy(float(value))

            known = {name: unread for name in table}
        else:
            known = {k.name: lambda v, k=k: check_knob(k, v) for k in self.catalogue[kind].knobs}
            table, said = self.table(value, where, key, known)
            wrong += said
        missing = object()
        found = {name: self.take(table, name, known[name], missing, where, key, wrong) for name in known}
        return {name: value for name, value in found.items() if value is not missing}

    def settings(self, value, kind: str, where: tuple, key: str, wrong: list[str]) -> dict[str, Any]:
        infos = {info.name: info for info in self.catalogue[kind].settings} if kind in self.catalogue else {}
        if kind not in self.catalogue and kind != MODEL:
            return {}
        table, said = self.table(value, where, key, infos)
        wrong += said
        missing, found = object(), {}
        for name in (name for name in table if name in infos):
            checked = self.take(table, name, lambda v, i=infos[name]: check_setting(i, v), missing, where, key, wrong)
            if checked is not missing:
                found[name] = self.setting_file(infos[name], checked)
        return found

    def setting_file(self, info: SettingInfo, value):
        """A file named in a setting (an impulse response beside racks.toml, say) by its whole path."""
        if info.type != "str" or info.choices or not value:
            return value
        path = find_file(value, self.path.parent)
        return str(path) if path else value


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)
