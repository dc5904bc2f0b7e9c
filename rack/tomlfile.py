"""Writing racks.toml: only what changed changes; comments, order and the hand that wrote it stay.

Slots that come, go or move are moved as lines of text together with the comments above them; single values are changed
in place. What was written is read again before it replaces the file, so that a save can never lose a rack.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from . import teachfile
from .checks import find_file
from .config import Catalogue, ConfigError, Rack, Racks, Slot, parse
from .paths import assets, write_atomically
from .tomllines import Lines


def save(path: Path, racks: Racks, catalogue: Catalogue, template: str = "") -> None:
    """Write racks into the file, or into a new one that begins as `template`.

    Racks of the file that are not named stay. Raises ConfigError where the file cannot be understood or written; it is
    then as it was.
    """
    try:
        text = path.read_bytes().decode() if path.exists() else template
        write_atomically(path, merged(text, racks, path, catalogue).encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}; nothing was changed") from None
    except UnicodeError:
        raise ConfigError(f"{path}: is not UTF-8; nothing was changed") from None


def merged(text: str, racks: Racks, path: Path, catalogue: Catalogue) -> str:
    """The text of a file with these racks in it."""

    def read(text: str) -> Racks:
        return parse(text.encode(), path, catalogue)[0]

    def says(text: str, name: str) -> bool:
        try:
            return _sound(read(text).racks[name]) == _sound(racks.racks[name])
        except (ConfigError, KeyError):
            return False

    if text and not text.endswith("\n"):
        text += "\n"
    for name, rack in racks.racks.items():
        before = read(text).racks.get(name)
        if before is not None and before == rack:
            continue
        for attempt in (_change, _rewrite):
            changed = attempt(text, name, before, rack, read, path.parent)
            if changed is not None and says(changed, name):
                text = changed
                break
        else:
            raise ConfigError(f"{path.name}: [racks.{name}] is written in a way that cannot be changed; not saved")
    return _settings(text, racks, read(text), path)


def _sound(rack: Rack) -> Rack:
    """A rack without what only a reader knows, and without what is not written."""
    plain = tuple(msgspec.structs.replace(slot, error="", unread=False) for slot in rack.slots)
    superknob = msgspec.structs.replace(rack.superknob, held=(), other=None, compare="A")
    snapshots = msgspec.structs.replace(rack.snapshots, current="", morph=0.0)
    return msgspec.structs.replace(rack, slots=plain, superknob=superknob, snapshots=snapshots)


# --- Ways to bring a rack into a text; each answers None where it cannot ----------------------------------------------


def _change(text: str, name: str, before: Rack | None, rack: Rack, read, folder: Path) -> str | None:
    """Move lines of slots, then change values in place."""
    if before is None:
        return _append(text, name, rack, folder)
    if _layout(before) != _layout(rack) or _repaired(before, rack):
        moved = _move(text, name, before, rack, folder)
        if moved is None:
            return None
        text = moved
    try:
        text = _added(text, ("racks", name), _missing(tomllib.loads(text)["racks"][name], rack, folder))
        document = tomlkit.parse(text)
        _values(document["racks"][name], read(text).racks[name], rack, folder)  # type: ignore[index]
        return _taught(tomlkit.dumps(document), name, before, rack)
    except (TOMLKitError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        return None


def _rewrite(text: str, name: str, before: Rack | None, rack: Rack, read, folder: Path) -> str | None:
    """Take out all lines of the rack and write it anew at the end."""
    index = Lines(text)
    gone: set[int] = set()
    for n, header in enumerate(index.headers):
        if header.path[:2] == ("racks", name):
            gone.update(range(*index.chunk(n)))
    kept = [line for i, line in enumerate(index.lines) if i not in gone]
    return _append("\n".join(kept).rstrip("\n") + "\n", name, rack, folder)


def _append(text: str, name: str, rack: Rack, folder: Path) -> str:
    lines = [f"[racks.{_key(name)}]"]
    lines += [f"{key} = {_value(getattr(rack, key))}" for key in ("title", "notes") if getattr(rack, key)]
    lines += [f"channels = {rack.channels}"]
    if rack.xy != ("", ""):
        lines.append(f"xy = {_value(dict(zip('xy', rack.xy, strict=True)))}")
    for slot in rack.slots:
        lines += ["", *_slot_lines(name, slot, folder)]
    for _, table in teachfile.lines(name, rack.superknob, rack.snapshots):
        lines += ["", *table]
    return (text.rstrip("\n") + "\n\n" if text.strip() else "") + "\n".join(lines) + "\n"


def _layout(rack: Rack) -> list[tuple[str, str]]:
    return [(slot.id, slot.type) for slot in rack.slots]


def _repaired(before: Rack, rack: Rack) -> set[str]:
    """Slots that had something wrong in the file, and have been put right since."""
    wrong = {slot.id: slot for slot in before.slots if slot.error}
    return {s.id for s in rack.slots if s.id in wrong and s != wrong[s.id] and not s.error}


def _move(text: str, name: str, before: Rack, rack: Rack, folder: Path) -> str | None:
    """Slots as blocks of lines, in the new order; new ones written, repaired ones written anew."""
    index = Lines(text)
    spans: list[tuple[int, int]] = []
    for n, header in enumerate(index.headers):
        if header.path[:3] == ("racks", name, "slots") and len(header.path) >= 4:
            first, after = index.chunk(n)
            if header.element and len(header.path) == 4:
                spans.append((first, after))
            elif spans and spans[-1][1] == first:
                spans[-1] = (spans[-1][0], after)
            else:
                return None
    if len(spans) != len(before.slots) or any(a[1] != b[0] for a, b in zip(spans, spans[1:], strict=False)):
        return None
    blocks = {(s.id, s.type): index.lines[a:b] for s, (a, b) in zip(before.slots, spans, strict=True)}
    for key in blocks:
        while blocks[key] and not blocks[key][-1].strip():
            blocks[key] = blocks[key][:-1]
    again = _repaired(before, rack)
    lines: list[str] = []
    for slot in rack.slots:
        block = blocks.get((slot.id, slot.type))
        fresh = _slot_lines(name, slot, folder)
        if block is None:
            block = fresh
        elif slot.id in again:
            block = [line for line in block if line.lstrip().startswith("#")] + fresh
        lines += [*block, ""]
    if spans:
        start, end = spans[0][0], spans[-1][1]
    else:
        own = [n for n, header in enumerate(index.headers) if header.path[:2] == ("racks", name)]
        if not own:
            return None
        start = end = index.chunk(own[-1])[1]
        if start and index.lines[start - 1].strip():
            lines = ["", *lines]
    return "\n".join([*index.lines[:start], *lines, *index.lines[end:]]).rstrip("\n") + "\n"


def _taught(text: str, name: str, before: Rack, rack: Rack) -> str:
    """The SuperKnob and the snapshots written anew behind the slots, with the comments that stood above them."""
    if (before.superknob, before.snapshots) == (rack.superknob, rack.snapshots):
        return text
    index = Lines(text)
    gone: set[int] = set()
    above: dict[str, list[str]] = {}
    names = {
        "superknob": [f"example {each.name}" for each in before.superknob.lessons],
        "snapshots": [f"snapshot {each.name}" for each in before.snapshots.kept],
    }
    for n, header in enumerate(index.headers):
        path = header.path
        if path[:2] == ("racks", name) and len(path) > 2 and path[2] in teachfile.SECTIONS:
            first, after = index.chunk(n)
            gone.update(range(first, after))
            last, known = path[-1], names.get(path[2], [])
            word = known[last] if isinstance(last, int) and last < len(known) else str(last)
            above[word] = index.lines[first : header.line]
    own = [n for n, header in enumerate(index.headers) if header.path[:2] == ("racks", name)]
    end = max(i for n in own for i in range(*index.chunk(n)) if i not in gone) + 1
    while end and not index.lines[end - 1].strip():
        end -= 1
    new: list[str] = []
    for word, table in teachfile.lines(name, rack.superknob, rack.snapshots):
        new += ["", *above.get(word, []), *table]
    rest = [line for i, line in enumerate(index.lines[end:], end) if i not in gone]
    if rest and rest[0].strip():
        rest = ["", *rest]
    return "\n".join([*index.lines[:end], *new, *rest]).rstrip("\n") + "\n"


def _missing(table: dict, rack: Rack, folder: Path) -> list[tuple[tuple, str, Any]]:
    """Keys that the text does not have yet and now needs: below which table, name, value."""
    wanted: list[tuple[tuple, str, Any]] = []
    for key in ("title", "notes", "channels"):
        if key not in table and getattr(rack, key) != getattr(Rack(), key):
            wanted.append(((), key, getattr(rack, key)))
    if "xy" not in table and rack.xy != ("", ""):
        wanted.append(((), "xy", dict(zip("xy", rack.xy, strict=True))))
    for i, slot in enumerate(rack.slots):
        there = table["slots"][i]
        for key in ("knobs", "settings", "bypass", "notes"):
            if key not in there and (value := getattr(slot, key)):
                if key == "settings":
                    value = {k: _relative(v, folder) for k, v in value.items()}
                wanted.append((("slots", i), key, value))
    return wanted


def _added(text: str, below: tuple, wanted: list[tuple[tuple, str, Any]]) -> str:
    """Write new keys as lines of their own, right behind the last key of their table."""
    index = Lines(text)
    headers = {header.path: header for header in reversed([index.top, *index.headers])}
    places = [(headers[(*below, *table)].last + 1, f"{key} = {_value(v)}") for table, key, v in wanted]
    lines = index.lines
    for at, line in reversed(sorted(places, key=lambda place: place[0])):
        lines.insert(at, line)
    return "\n".join(lines)


def _values(table: Any, before: Rack, rack: Rack, folder: Path) -> None:
    """Change the values that differ, in a rack whose slots stand in the right order already."""
    for key in ("title", "notes", "channels"):
        if getattr(before, key) != getattr(rack, key):
            table[key] = getattr(rack, key)
    for axis, new in zip("xy", rack.xy, strict=True):
        if "xy" in table and table["xy"].get(axis, "") != new:  # what stands there may have lost its slot
            table["xy"][axis] = new
    for old, new, place in zip(before.slots, rack.slots, table.get("slots", []), strict=True):
        if old.id != new.id:
            place["id"] = new.id
        if old.model != new.model:
            place["model"] = _relative(new.model, folder)
        for key in ("bypass", "notes"):
            if getattr(old, key) != getattr(new, key):
                place[key] = getattr(new, key)
        for key in ("knobs", "settings"):
            was, now = getattr(old, key), getattr(new, key)
            if was == now:
                continue
            inner = place.setdefault(key, tomlkit.inline_table())
            for name in was.keys() - now.keys():
                inner.remove(name)
            for name, value in now.items():
                if name not in was or was[name] != value:
                    inner[name] = _relative(value, folder)


def _settings(text: str, racks: Racks, before: Racks, path: Path) -> str:
    """What stands beside the racks: which one to start with, the sound device, the source."""
    if (racks.rack, racks.audio, racks.source) == (before.rack, before.audio, before.source):
        return text
    try:
        table, new = tomllib.loads(text), []
        if "rack" not in table:
            new.append(((), "rack", racks.rack))
        for part in ("audio", "source"):
            fields = msgspec.structs.asdict(getattr(racks, part))
            changed = {k: v for k, v in fields.items() if v != getattr(getattr(before, part), k)}
            if changed and part not in table:
                text = text.rstrip("\n") + f"\n\n[{part}]\n"
            new += [((part,), k, v) for k, v in changed.items() if k not in table.get(part, {})]
        text = _added(text, (), new)
        document = tomlkit.parse(text)
        document["rack"] = racks.rack
        for part in ("audio", "source"):
            for key, value in msgspec.structs.asdict(getattr(racks, part)).items():
                if value != getattr(getattr(before, part), key):
                    document[part][key] = _plain(value)  # type: ignore[index]
        return tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, AttributeError, ValueError):
        raise ConfigError(f"{path.name}: [audio] or [source] is written in a way that cannot be changed") from None


# --- Text of values ---------------------------------------------------------------------------------------------------


def _slot_lines(rack: str, slot: Slot, folder: Path) -> list[str]:
    lines = [f"[[racks.{_key(rack)}.slots]]", f"id = {_value(slot.id)}", f"type = {_value(slot.type)}"]
    if slot.model:
        lines.append(f"model = {_value(_relative(slot.model, folder))}")
    if slot.knobs:
        lines.append(f"knobs = {_value(slot.knobs)}")
    if slot.settings:
        lines.append(f"settings = {_value({k: _relative(v, folder) for k, v in slot.settings.items()})}")
    if slot.bypass:
        lines.append("bypass = true")
    if slot.notes:
        lines.append(f"notes = {_value(slot.notes)}")
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return tomlkit.item(_plain(value)).as_string()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else "" if value is None else value


def _relative(value: Any, folder: Path) -> Any:
    """A file's path as short as it can be said: beside racks.toml, or among the shipped assets."""
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    for base in (folder.absolute(), assets()):
        if Path(value).is_relative_to(base):
            short = Path(value).relative_to(base).as_posix()
            if str(find_file(short, folder)) == value:
                return short
    return value
