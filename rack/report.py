"""What the command line prints about the rack: its status, and everything that happens to it, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from .examples import SuperPlace
from .protocol import Moved, Notice, Snapshot, Telemetry, Turned, View


def status(view: View, meters: Telemetry) -> str:
    """The rack for a person."""
    audio, words = view.audio, [view.compare]
    words += [word for word, on in (("modified", view.modified), ("BYPASS", view.bypass), ("MUTED", view.mute)) if on]
    width = {1: "mono", 2: "stereo"}.get(view.channels, "")
    lines = [
        f"rack       {view.rack} ({', '.join([width, *words])})",
        f"audio      {audio.backend} {audio.device}, {audio.rate} Hz, {audio.block} samples",
        f"source     {view.source} {view.source_path}".rstrip(),
        f"load       {meters.load:.0%}, {meters.late} of {meters.blocks} blocks late",
        f"in, out    {_levels(meters.input_db)}, {_levels(meters.output_db)} dBFS",
    ]
    if view.recording:
        lines.append(f"recording  {view.recording} ({meters.recorded_s:.0f} s)")
    if audio.message:
        lines.append(f"note       {audio.message}")
    for slot in view.slots:
        knobs = "  ".join(f"{k.name} {k.format(v)}" for k, v in zip(slot.knobs, slot.values, strict=True))
        state = "bypassed" if slot.bypass and slot.status == "ready" else slot.status
        lines.append(f"{slot.id:<10} {state:<9} {slot.model or slot.type}  {knobs}".rstrip())
        if slot.error:
            lines.append(f"{'':20} {slot.error}")
        lines += [f"{'':20} {remark}" for remark in slot.remarks]
    lines += [f"hint       {hint}" for hint in meters.hints]
    lines += [f"problem    {problem}" for problem in view.problems]
    return "\n".join(lines)


def _levels(levels: tuple[float, ...]) -> str:
    return " ".join("-inf" if level <= -120 else f"{level:.1f}" for level in levels) or "-inf"


def value(found: Any, as_json: bool) -> str:
    """What `get` prints: plain text where it can be, JSON where it cannot or was asked for."""
    if as_json or isinstance(found, dict):
        return json.dumps(found, indent=None if as_json else 1)
    if isinstance(found, list | tuple):
        return "\n".join(value(item, False) for item in found)
    if isinstance(found, bool):
        return "on" if found else "off"
    return f"{found:.7g}" if isinstance(found, float) else "" if found is None else str(found)


def watch(messages: Iterable[Any], view: View, as_json: bool) -> Iterator[str]:
    """Lines about what changes: `key value`, or one JSON object a line."""
    seen = flat(view)
    for message in messages:
        match message:
            case Snapshot(_, view):
                before, seen = seen, flat(view)
                changed = {key: value for key, value in seen.items() if before.get(key) != value}
                changed |= {key: None for key in before.keys() - seen.keys()}
            case Turned(_, key, value):
                changed = {key: value} if seen.get(key) != value else {}
                seen[key] = value
            case Moved(_, place):
                turned = _place(place)
                changed = {"superknob": turned} if seen.get("superknob") != turned else {}
                seen["superknob"] = turned
            case Notice(level, text):
                changed = {f"notice.{level}": text}
            case Telemetry():
                changed = {"meters": _meters(message)}
            case _:
                continue
        for key, new in changed.items():
            yield json.dumps({"key": key, "value": new}) if as_json else f"{key} {_plain(new)}"


def _meters(message: Telemetry) -> dict:
    whole = msgspec.to_builtins(message)
    return {key: whole[key] for key in whole if not key.startswith("scope")}


def _place(place: SuperPlace) -> float | list[float]:
    return place.position[0] if len(place.position) == 1 else list(place.position)


def _plain(new: Any) -> str:
    if isinstance(new, dict):  # the meters
        heard, sent = _levels(new["input_db"]), _levels(new["output_db"])
        clips = "".join(f" {way} clipped" for way in ("input", "output") if new[f"{way}_clip"])
        return f"in {heard} out {sent} load {new['load']:.1%} late {new['late']}{clips}"
    return "(gone)" if new is None else value(new, False).replace("\n", " ")


def flat(view: View) -> dict[str, Any]:
    """A view as keys and values, the keys being those of `set` where there is one."""
    found: dict[str, Any] = {
        "rack": view.rack,
        "racks": list(view.racks),
        "modified": view.modified,
        "bypass": view.bypass,
        "mute": view.mute,
        "compare": view.compare,
        "source": f"file:{view.source_path}" if view.source == "file" else view.source,
        "record": view.recording or False,
        "slots": [slot.id for slot in view.slots],
        "audio": f"{view.audio.backend} {view.audio.device} {view.audio.rate} {view.audio.block}".strip(),
        "xy.x": view.xy[0],
        "xy.y": view.xy[1],
        "problems": list(view.problems),
        "superknob": _place(view.superknob.place),
        "superknob.mode": "play" if view.superknob.playing else "teach",
        "superknob.train": view.superknob.lamp,
        "snapshot": view.snapshot,
    }
    for slot in view.slots:
        found |= {f"{slot.id}.{k.name}": v for k, v in zip(slot.knobs, slot.values, strict=True)}
        found |= {f"{slot.id}.settings.{name}": value for name, value in slot.settings.items()}
        found |= {f"{slot.id}.bypass": slot.bypass, f"{slot.id}.model": slot.model, f"{slot.id}.notes": slot.notes}
        found[f"{slot.id}.status"] = f"{slot.status} {slot.error}".strip()
    return found
