"""The library as rows of text: folders as a tree, a line for each file, and all there is to say about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rack.describe import family, hertz, percent, share
from rack.library import BROKEN, Entry

from .glyphs import Glyphs
from .text import Row, clip, clip_start

LABEL = 9  # cells of a label among the details
NETWORK, COST, RATE_WIDTH = 18, 7, 9
WIDE = 64  # cells from which a file's line tells its rate


@dataclass(frozen=True)
class Folder:
    """A line of the tree: what it shows, and what stands there. `kind` is folder, or the name of a list."""

    kind: str
    path: str
    name: str
    depth: int
    count: int


def folders(tree: Mapping[str, int]) -> list[Folder]:
    """A line for every folder that holds models, below the ones that it lies in.

    Folders that only lead to one other are joined to it: `/music/captures/amps`.
    """
    root: dict = {}
    for path, count in tree.items():
        node = root
        for part in path.split("/")[1:]:
            node = node.setdefault(part, {})
        node[""] = count
    found: list[Folder] = []

    def walk(node: dict, path: str, depth: int) -> int:
        total = node.get("", 0)
        for name in sorted((name for name in node if name), key=str.casefold):
            inner, whole = node[name], f"{path}/{name}"
            label = f"/{name}" if not depth else name
            while len(inner) == 1 and "" not in inner:
                (step,) = inner
                inner, whole, label = inner[step], f"{whole}/{step}", f"{label}/{step}"
            at = len(found)
            found.append(Folder("folder", whole, label, depth, 0))
            count = walk(inner, whole, depth + 1)
            found[at] = Folder("folder", whole, label, depth, count)
            total += count
        return total

    walk(root, "", 0)
    return found


def folder_row(folder: Folder, chosen: bool, active: bool, width: int, glyphs: Glyphs) -> Row:
    """A line of the tree; `active` where the tree has the focus."""
    ground = " on well" if chosen else ""
    count = f"{folder.count:,}" if folder.count else ""
    room = max(width - 2 * folder.depth - len(count) - 4, 4)
    cut = clip_start if folder.kind == "folder" and not folder.depth else clip
    name = cut(folder.name, room, glyphs.ellipsis)
    ink = "focus b" if chosen and active else "bright b" if chosen else "text" if folder.kind == "folder" else "lit"
    left = f"{'> ' if chosen else '  '}{'  ' * folder.depth}"
    return [
        (left, f"focus b{ground}"),
        (name.ljust(max(width - len(left) - len(count) - 1, 0)), ink + ground),
        (f"{count} ", f"faint{ground}"),
    ]


def file_row(
    entry: Entry, chosen: bool, active: bool, playing: bool, cost_ns: float | None, width: int, glyphs: Glyphs
) -> Row:
    """A file: its marks, its name, what it is, and what it costs."""
    ground = " on well" if chosen else ""
    broken = entry.kind == BROKEN
    mark, ink = (glyphs.fail, "hot b") if broken else (glyphs.on, "lit") if playing else (" ", "")
    name_ink = "focus b" if chosen and active else "bright b" if chosen else "faint" if broken else "text"
    network = min(NETWORK if width < WIDE + 10 else NETWORK + 6, width // 3)
    rate = RATE_WIDTH if width >= WIDE else 0
    room = max(width - 5 - network - COST - rate, 8)
    stem = entry.name.rpartition(".")[0] or entry.name
    what = "cannot be played" if broken else entry.architecture or family(entry.format)
    spent = percent(share(cost_ns)) if cost_ns is not None and not broken else ""
    row: Row = [
        ("> " if chosen else "  ", f"focus b{ground}"),
        (mark, f"{ink}{ground}".strip()),
        ("*" if entry.favourite else " ", f"focus b{ground}"),
        (" ", ground.strip()),
        (clip(stem, room, glyphs.ellipsis).ljust(room), f"{name_ink}{ground}"),
        (f" {clip(what, network - 1, glyphs.ellipsis)}".ljust(network), f"{'hot' if broken else 'dim'}{ground}"),
    ]
    if rate:
        row.append((hertz(entry.sample_rate).rjust(rate), f"faint{ground}"))
    return [*row, (f"{spent} ".rjust(COST), f"{cost_ink(spent and share(cost_ns or 0.0))}{ground}")]


def cost_ink(value: float | str) -> str:
    """The ink of a share of a core in percent: calm, warm or hot."""
    return "faint" if not isinstance(value, float) else "ok" if value < 25 else "warm" if value < 60 else "hot"


def details(entry: Entry, pairs: Sequence[tuple[str, str]], width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """What is known about a file: a line for each pair where there is room, else one after another as in a text."""
    head: list[Row] = [
        [(clip(entry.name, width, glyphs.ellipsis), "bright b")],
        [(clip_start(entry.folder, width, glyphs.ellipsis), "faint")],
    ]
    table = _table(pairs, width)
    if len(head) + 1 + len(table) <= height:
        return [*head, [], *table]
    return [*head[: 1 if height < 6 else 2], *_flow(pairs, width)][:height]


def _table(pairs: Sequence[tuple[str, str]], width: int) -> list[Row]:
    rows: list[Row] = []
    for label, words in pairs:
        lines = wrap(words, max(width - LABEL, 8)) or [""]
        rows.append([(label.ljust(LABEL), "dim"), (lines[0], _ink(label))])
        rows += [[(" " * LABEL, ""), (line, _ink(label))] for line in lines[1:]]
    return rows


def _flow(pairs: Sequence[tuple[str, str]], width: int) -> list[Row]:
    """Pairs side by side, whole pairs to a line where they fit."""
    rows: list[Row] = [[]]
    used = 0
    for label, words in pairs:
        long = len(label) + 1 + len(words)
        if used and used + 3 + long > width:
            rows.append([])
            used = 0
        if long > width:
            lines = wrap(words, max(width - len(label) - 1, 8))
            rows[-1] += [(f"{label} ", "dim"), (lines[0], _ink(label))]
            rows += [[(line, _ink(label))] for line in lines[1:]]
            rows.append([])
            continue
        gap: Row = [("   ", "")] if used else []
        rows[-1] += [*gap, (f"{label} ", "dim"), (words, _ink(label))]
        used += len(gap and "   ") + long
    return [row for row in rows if row]


def _ink(label: str) -> str:
    return {"problem": "hot", "tags": "lit", "note": "lit"}.get(label, "text")
