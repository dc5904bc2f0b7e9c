"""The parts of the library page: the tree of folders, the list of files, and what is known about one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from rack.describe import described
from rack.library import Entry

from ..art import browser as art
from ..art.text import Row
from .drawn import Drawn
from .listing import Listing

Costs = Mapping[tuple[str, str, int | None], float]


class Folders(Listing):
    """The tree: lists of their own first, then the folders."""

    def draw(self, width: int, height: int) -> list[Row]:
        focus, glyphs = self.has_focus, self.glyphs
        return [art.folder_row(self.lines[i], i == self.at, focus, width, glyphs) for i in self.window(height)]

    @property
    def folder(self) -> art.Folder | None:
        """The highlighted one."""
        return self.lines[self.at] if self.lines else None


class Files(Listing):
    """Model files, one line each."""

    def __init__(self) -> None:
        super().__init__()
        self.playing = ""  # the model of the slot in focus
        self.costs: Costs = {}
        self.nothing: Sequence[str] = ()  # what is said instead of an empty list

    @property
    def entry(self) -> Entry | None:
        """The highlighted one."""
        return self.lines[self.at] if self.lines else None

    def cost_ns(self, entry: Entry) -> float | None:
        """What a sample of it costs, or of another one of its kind."""
        return entry.cost_ns or self.costs.get((entry.format, entry.architecture, entry.sample_rate))

    def draw(self, width: int, height: int) -> list[Row]:
        if not self.lines:
            wrapped = (part for line in self.nothing for part in wrap(line, max(width - 2, 8)) or [""])
            return [[(f" {line}", "dim")] for line in wrapped]
        return [
            art.file_row(
                entry := self.lines[i],
                i == self.at,
                self.has_focus,
                entry.path == self.playing,
                self.cost_ns(entry),
                width,
                self.glyphs,
            )
            for i in self.window(height)
        ]


class Details(Drawn):
    """All that is known about a file."""

    def __init__(self) -> None:
        super().__init__()
        self._entry: Entry | None = None
        self._like_it_ns: float | None = None

    def show(self, entry: Entry | None, like_it_ns: float | None) -> None:
        """Draw this file."""
        if (entry, like_it_ns) != (self._entry, self._like_it_ns):
            self._entry, self._like_it_ns = entry, like_it_ns
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        if self._entry is None:
            return []
        pairs = described(self._entry, self._like_it_ns)
        return art.details(self._entry, pairs, width, height, self.glyphs)
