"""The words of the Train page: the queue, what is known of a job, its check list, and what to do next."""

from __future__ import annotations

from textwrap import wrap

from rack.jobs import Job, Pair

from ..art import jobs as art
from ..art.text import Row, clip, shorten
from .drawn import Drawn
from .listing import Listing


class Queue(Listing):
    """All jobs, those that wait or run first, one line each."""

    def __init__(self) -> None:
        super().__init__()
        self.held = ""  # the id of the job whose curves stay behind those of others

    @property
    def job(self) -> Job | None:
        """The highlighted one."""
        return self.lines[self.at] if self.lines else None

    def draw(self, width: int, height: int) -> list[Row]:
        if not self.lines:
            rows: list[Row] = [[(f" {art.NEVER}", "bright b")]]
            return rows + [[(f" {line}", "text")] for line in wrap(art.FIRST_STEPS, max(width - 2, 10))]
        jobs = [self.lines[i] for i in self.window(height)]
        return art.queue_rows(jobs, self.job, width, self.glyphs, self.held)


class About(Drawn):
    """Three lines about the highlighted job."""

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None

    def show(self, job: Job | None) -> None:
        """Draw what is known of it."""
        self._job = job
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        rows = art.about(self._job, self.glyphs) if self._job else []
        return [shorten(row, width, self.glyphs.ellipsis) for row in rows]


class NextStep(Drawn):
    """What there is to do now."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def show(self, text: str) -> None:
        """Draw this sentence."""
        if text != self.text:
            self.text = text
            self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        mark = self.glyphs.link[-1:]
        return [[(f"{mark} ", "focus b"), (clip(self.text, width - 2, self.glyphs.ellipsis), "bright b")]]


class Checks(Drawn):
    """The check list of a job's recordings; what does not fit is counted in the border."""

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self._job: Job | None = None
        self._pair: Pair | None = None
        self.border_title = "check list"

    def show(self, job: Job | None, pair: Pair | None) -> None:
        """Draw what is to be said about these recordings."""
        self._job, self._pair = job, pair
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        rows = art.checklist(self._job, self._pair, width, self.glyphs)
        if len(rows) > height > 1:
            hidden = len(rows) - height + 1
            rows = [*rows[: height - 1], [(f"and {hidden} more lines in a larger window", "dim")]]
        return rows
