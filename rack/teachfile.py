"""What a rack was taught as TOML: the SuperKnob with its examples in real units, and the snapshots.

`read` takes the tables of one rack of racks.toml (its problems become the reader's), `lines` writes them; `exported`
and `imported` are the same examples as a text of their own, to hand to somebody else.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .checks import flag, good_name, text, tidy
from .errors import RackError
from .examples import MOST_EXAMPLES, Kept, Lesson, Mapping, Snapshots, SuperKnob

if TYPE_CHECKING:
    from .config import Slot, _Reader

SECTIONS = ("superknob", "snapshots", "morph")  # of a rack's table
LONGEST_GLIDE_MS = 60_000.0
MOST_SNAPSHOTS = 64
_MAPPING = ("keys", "low", "high", "weights", "made_from")
_SUPERKNOB = ("knobs", "position", "playing", "exact", "glide_ms", "linked", "locked", "examples", "mapping")


# --- values -----------------------------------------------------------------------------------------------------------


def glide_ms(value: Any) -> float:
    """A time for a glide in milliseconds."""
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_GLIDE_MS:
        raise ValueError(f"must be a time from 0 to {LONGEST_GLIDE_MS:g} ms")
    return tidy(float(value))


def place(count: int | None = None) -> Callable[[Any], tuple[float, ...]]:
    """A position of a SuperKnob of so many knobs: a number 0..1, or a list of them."""

    def check(value: Any) -> tuple[float, ...]:
        numbers = value if isinstance(value, list | tuple) else [value]
        good = all(type(n) in (int, float) and 0 <= n <= 1 for n in numbers)
        if not good or len(numbers) not in ((1, 2) if count is None else (count,)):
            raise ValueError(f"must be {('one or two numbers', 'a number', 'two numbers')[count or 0]} from 0 to 1")
        return tuple(tidy(float(n)) for n in numbers)

    return check


def name(value: Any) -> str:
    """The name of an example or a snapshot."""
    if not good_name(value):
        raise ValueError("a name is 1 to 64 printable characters")
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word.partition(".")[2] for word in value):
        raise ValueError('must be a list of knobs, as in ["tone.cutoff"]')
    return tuple(dict.fromkeys(text(word) for word in value))


def _count(value: Any) -> int:
    if type(value) is not int or value not in (1, 2):
        raise ValueError("must be 1, or 2 for a pad")
    return value


# --- reading a rack's tables ------------------------------------------------------------------------------------------


def read(reader: _Reader, table: dict, where: tuple, key: str, slots: Sequence[Slot]) -> tuple[SuperKnob, Snapshots]:
    """The SuperKnob and the snapshots of a rack; what is wrong is written down by the reader and left out."""
    return _superknob(reader, table, where, key, slots), _snapshots(reader, table, where, key, slots)


def _superknob(reader: _Reader, table: dict, where: tuple, key: str, slots: Sequence[Slot]) -> SuperKnob:
    if "superknob" not in table:
        return SuperKnob()
    where, key, plain = (*where, "superknob"), f"{key}.superknob", SuperKnob()
    found, _ = reader.table(table["superknob"], where, key, _SUPERKNOB)
    knobs = reader.take(found, "knobs", _count, 1, where, key)
    lessons: list[Lesson] = []
    for i, each in enumerate(_tables(reader, found, "examples", where, key)[:MOST_EXAMPLES]):
        inside, said = (*where, "examples", i), f"{key}.examples.{i + 1}"
        example, _ = reader.table(each, inside, said, ("name", "at", "knobs"))
        called = reader.take(example, "name", name, f"example {i + 1}", inside, said)
        if "at" not in example:
            reader.problem(inside, f"{said}.at", "is missing: where on the SuperKnob it is; this example is left out")
            continue
        at = reader.take(example, "at", place(knobs), None, inside, said)
        if at is not None:
            lessons.append(Lesson(free(called, lessons), at, _knobs(reader, example, inside, said, slots)))
    return SuperKnob(
        knobs=knobs,
        position=reader.take(found, "position", place(knobs), (0.0, 0.5)[:knobs] if knobs > 1 else (0.0,), where, key),
        playing=reader.take(found, "playing", flag, plain.playing, where, key),
        exact=reader.take(found, "exact", flag, plain.exact, where, key),
        glide_ms=reader.take(found, "glide_ms", glide_ms, plain.glide_ms, where, key),
        linked=reader.take(found, "linked", _words, (), where, key),
        locked=reader.take(found, "locked", _words, (), where, key),
        lessons=tuple(lessons),
        mapping=_mapping(reader, found, knobs, where, key),
    )


def _mapping(reader: _Reader, table: dict, knobs: int, where: tuple, key: str) -> Mapping | None:
    if "mapping" not in table:
        return None
    where, key = (*where, "mapping"), f"{key}.mapping"
    found, wrong = reader.table(table["mapping"], where, key, _MAPPING)
    try:
        if wrong:
            return None
        keys, low, high = _words(found["keys"]), *(tuple(map(float, found[end])) for end in ("low", "high"))
        weights = base64.b64decode(found["weights"], validate=True)
        if len(weights) != 4 * (48 + 17 * len(keys)) or not len(low) == len(high) == len(keys):
            raise ValueError
        return Mapping(knobs, keys, low, high, weights, str(found["made_from"]))
    except (KeyError, TypeError, ValueError, binascii.Error):
        reader.problem(where, key, "is damaged, so the examples are interpolated; train again, or take it out")
        return None


def _snapshots(reader: _Reader, table: dict, where: tuple, key: str, slots: Sequence[Slot]) -> Snapshots:
    kept: list[Kept] = []
    for i, each in enumerate(_tables(reader, table, "snapshots", where, key)[:MOST_SNAPSHOTS]):
        inside, said = (*where, "snapshots", i), f"{key}.snapshots.{i + 1}"
        found, _ = reader.table(each, inside, said, ("name", "knobs"))
        called = reader.take(found, "name", name, f"snapshot {i + 1}", inside, said)
        kept.append(Kept(free(called, kept), _knobs(reader, found, inside, said, slots)))
    where, key = (*where, "morph"), f"{key}.morph"
    morph, _ = reader.table(table.get("morph", {}), where, key, ("glide_ms", "from", "to"))

    def known(value: Any) -> str:
        if value not in [snapshot.name for snapshot in kept]:
            raise ValueError(f"must be one of the snapshots {', '.join(s.name for s in kept) or '(none)'}")
        return value

    ends = [reader.take(morph, end, known, "", where, key) for end in ("from", "to")]
    glide = reader.take(morph, "glide_ms", glide_ms, 0.0, where, key)
    return Snapshots(tuple(kept), glide_ms=glide, ends=(ends[0], ends[1]))


def _tables(reader: _Reader, table: dict, part: str, where: tuple, key: str) -> list:
    found = table.get(part, [])
    if isinstance(found, list):
        return found
    reader.problem((*where, part), f"{key}.{part}", f"must be written as [[{key}.{part}]]", found)
    return []


def _knobs(reader: _Reader, table: dict, where: tuple, key: str, slots: Sequence[Slot]) -> dict[str, float | str]:
    """Knobs by "slot.knob": those of our own boxes checked, those of model files as they stand there."""
    kinds = {slot.id: slot.type for slot in slots}
    given, _ = reader.table(table.get("knobs", {}), (*where, "knobs"), f"{key}.knobs", kinds)
    found: dict[str, float | str] = {}
    for slot, values in given.items():
        if slot in kinds:
            place = (*where, "knobs", slot)
            turned = reader.knobs(values, kinds[slot], place, f"{key}.knobs.{slot}", [])
            found |= {f"{slot}.{knob}": value for knob, value in turned.items()}
    return found


def free(wanted: str, taken: Sequence[Lesson | Kept]) -> str:
    """A name that none of these has yet."""
    names, number = {each.name for each in taken}, 2
    found = wanted
    while found in names:
        found, number = f"{wanted[:58]} {number}", number + 1
    return found


# --- writing ----------------------------------------------------------------------------------------------------------


def lines(rack: str, superknob: SuperKnob, snapshots: Snapshots) -> list[tuple[str, list[str]]]:
    """Tables as (what it is, lines): what stands above one in the file is kept for the table of the same word."""
    head, out = f"racks.{bare(rack)}", []
    if superknob != SuperKnob():
        out.append(("superknob", [f"[{head}.superknob]", *_superknob_lines(superknob)]))
        out += [(f"example {each.name}", [f"[[{head}.superknob.examples]]", *_lesson_lines(each)])
                for each in superknob.lessons]  # fmt: skip
    if (mapping := superknob.mapping) is not None:
        weights = base64.b64encode(mapping.weights).decode()
        numbers = [f"{end} = {value([*getattr(mapping, end)])}" for end in ("keys", "low", "high")]
        out.append(("mapping", [f"[{head}.superknob.mapping]  # what training found; take it out to train anew",
                                *numbers, f'weights = "{weights}"', f'made_from = "{mapping.made_from}"']))  # fmt: skip
    for each in snapshots.kept:
        table = [f"[[{head}.snapshots]]", f"name = {value(each.name)}", f"knobs = {_table(each.knobs)}"]
        out.append((f"snapshot {each.name}", table))
    morph = [f"{end} = {value(word)}" for end, word in zip(("from", "to"), snapshots.ends, strict=True) if word]
    morph += [f"glide_ms = {snapshots.glide_ms}"] if snapshots.glide_ms else []
    return [*out, ("morph", [f"[{head}.morph]", *morph])] if morph else out


def _superknob_lines(s: SuperKnob) -> list[str]:
    plain, out = SuperKnob(), [f"knobs = {s.knobs}"] if s.knobs != 1 else []
    out.append(f"position = {_position(s.position)}")
    out += [f"{key} = true" for key in ("playing", "exact") if getattr(s, key)]
    out += [f"glide_ms = {s.glide_ms}"] if s.glide_ms != plain.glide_ms else []
    return out + [f"{key} = {value([*getattr(s, key)])}" for key in ("linked", "locked") if getattr(s, key)]


def _lesson_lines(lesson: Lesson) -> list[str]:
    return [f"name = {value(lesson.name)}", f"at = {_position(lesson.position)}", f"knobs = {_table(lesson.knobs)}"]


def _position(position: tuple[float, ...]) -> str:
    return str(position[0]) if len(position) == 1 else value([*position])


def _table(knobs: dict[str, float | str]) -> str:
    """Knobs in one line: { drive.gain = 9.0, tone.cutoff = 4500.0 }."""
    pairs = ((bare(key.partition(".")[0]), bare(key.partition(".")[2]), v) for key, v in knobs.items())
    inside = ", ".join(f"{slot}.{knob} = {value(v)}" for slot, knob, v in pairs)
    return f"{{ {inside} }}" if inside else "{}"


def bare(word: str) -> str:
    """A key as TOML has it, quoted where it must be."""
    return word if re.fullmatch(r"[A-Za-z0-9_-]+", word) else value(word)


def value(found: Any) -> str:
    """A plain value as TOML has it."""
    import tomlkit  # slow to import, and few ever save

    return tomlkit.item(found).as_string()


# --- examples as a text of their own ----------------------------------------------------------------------------------


def exported(superknob: SuperKnob) -> str:
    """The examples as TOML."""
    text = ["# Examples of a SuperKnob: nafx-rack superknob import FILE takes them over.", f"knobs = {superknob.knobs}"]
    for lesson in superknob.lessons:
        text += ["", "[[examples]]", *_lesson_lines(lesson)]
    return "\n".join(text) + "\n"


def imported(found: str) -> tuple[int, tuple[Lesson, ...]]:
    """The number of knobs and the examples of such a text; values as they stand there. RackError says what is wrong."""
    try:
        table = tomllib.loads(found)
        count = _count(table.get("knobs", 1))
        lessons: list[Lesson] = []
        for i, each in enumerate(table.get("examples", [])):
            knobs = {
                f"{slot}.{knob}": turned if isinstance(turned, str) else float(turned)
                for slot, values in each.get("knobs", {}).items()
                for knob, turned in values.items()
            }
            called = free(name(each.get("name", f"example {i + 1}")), lessons)
            lessons.append(Lesson(called, place(count)(each.get("at")), knobs))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RackError(f"these are no examples: {str(error)[:200]}; export some to see how they are written") from None
    if not lessons:
        raise RackError("there are no examples in it; they are written as [[examples]]")
    if len(lessons) > MOST_EXAMPLES:
        raise RackError(f"{len(lessons)} examples are more than {MOST_EXAMPLES}; leave some out")
    return count, tuple(lessons)
