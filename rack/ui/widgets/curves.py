"""The pictures of a training job: its curves, the pair it learns from, and target against model by frequency."""

from __future__ import annotations

from collections.abc import Sequence

from rack.jobs import JobRecord, Pair, Spectrum

from ..art.curve import (
    BEHIND,
    BRIGHT,
    DIM,
    GUTTER,
    PLAIN,
    Line,
    Point,
    Scale,
    log_scale,
    log_ticks,
    number,
    plot,
    step_ticks,
    wave,
)
from ..art.text import Row, clock
from .drawn import Drawn

INKS = ("", "dry", "dim", "lit b", "focus b", "faint")  # of the layers of `art.curve`
LOSS, ESR = "loss", "ESR"
SHADED, DOTTED = ("dim", "bright", "behind"), (PLAIN[DIM], PLAIN[BRIGHT], PLAIN[BEHIND])  # the lines in a legend


class Curves(Drawn):
    """Training (dim) and validation (bright) over the steps, the best marked; another run's validation behind them."""

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self.what = LOSS
        self.records: Sequence[JobRecord] = ()
        self.held: Sequence[JobRecord] = ()
        self.held_name = ""
        self._drawn: tuple = ()
        self.border_title = LOSS

    def show(self, records: Sequence[JobRecord], held: Sequence[JobRecord] = (), held_name: str = "") -> None:
        """Draw these records, `held` behind them."""
        drawn = (tuple(records[-1:]), len(records), tuple(held[-1:]), len(held), held_name)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        self.records, self.held, self.held_name = records, held, held_name
        self._caption()
        self.repaint()

    def see(self, what: str) -> None:
        """Draw the loss, or the ESR."""
        self.what = what
        self._caption()
        self.repaint()

    def _caption(self) -> None:
        dim, bright, behind = DOTTED if self.glyphs.name == "ascii" else SHADED
        title = f"training {dim}, validation {bright}" if self.what == LOSS else "validation"
        title = f"{self.what}  {title}" + (f", {self.held_name} {behind}" if self.held else "")
        best = self.best
        said = f"{self.glyphs.thumb} best {number(best[1])} at step {best[0]:,}" if best else ""
        if (self.border_title, self.border_subtitle) != (title, said):
            self.border_title, self.border_subtitle = title, said

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best validation."""
        values = [(step, value) for step, value in _values(self.records, self.what) if value is not None]
        if not values:
            return None
        wanted = self.records[-1].best_step
        return min((v for v in values if v[0] == wanted), default=None) or min(values, key=lambda v: v[1])

    def draw(self, width: int, height: int) -> list[Row]:
        validation, behind = _values(self.records, self.what), _values(self.held, self.what)
        training = [(r.step, r.loss) for r in self.records] if self.what == LOSS else []
        every = [v for _, v in (*validation, *training, *behind) if v is not None]
        if not every:
            words = "no validation yet" if self.records or self.what == LOSS else "this run has no ESR"
            return [[], [(f"  {words}", "dim")]]
        scale, last = log_scale(every), max(step for step, _ in (*validation, *training, *behind))
        lines = [
            Line([_point(step, value, last, scale) for step, value in values], layer)
            for values, layer in ((behind, BEHIND), (training, DIM), (validation, BRIGHT))
        ]
        best = self.best
        rows = plot(
            width,
            height,
            lines,
            self.glyphs,
            y_ticks=log_ticks(scale),
            x_ticks=step_ticks(last, width - GUTTER),
            mark=_point(*best, last, scale) if best else None,
        )
        return [[(glyph, INKS[layer]) for glyph, layer in row] for row in rows]


def _values(records: Sequence[JobRecord], what: str) -> list[tuple[int, float | None]]:
    """The validation by step: its loss, or where there is none its ESR."""
    if what == ESR:
        return [(r.step, r.esr) for r in records]
    return [(r.step, r.validation if r.validation is not None else r.esr) for r in records]


def _point(step: float, value: float | None, last: float, scale: Scale) -> Point | None:
    return (step / last if last else 0.0, scale.at(value)) if value is not None and value > 0 else None


class Wave(Drawn):
    """The aligned pair: what went in above, what came out below."""

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self.pair: Pair | None = None
        self.border_title = "recordings"

    def show(self, pair: Pair | None) -> None:
        """Draw this pair; None where none is known."""
        if pair == self.pair:
            return
        self.pair = pair
        late = f", {pair.delay} samples taken out" if pair and pair.delay else ""
        self.border_title = "dry above, wet below, aligned" + late if pair and pair.rate else "recordings"
        self.border_subtitle = f"{clock(pair.seconds)} at {pair.rate / 1000:g} kHz" if pair and pair.rate else ""
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        pair = self.pair
        if pair is None or not pair.dry_wave.low:
            return [[], [("  no picture of the recordings", "dim")]]
        above = (height + 1) // 2
        rows: list[Row] = []
        for shape, tall, name in ((pair.dry_wave, above, "dry"), (pair.wet_wave, height - above, "wet")):
            if tall < 1:
                continue
            drawn = wave(shape.low, shape.high, width - 4, tall, self.glyphs)
            ink = "dim" if name == "dry" else "lit"
            for y, row in enumerate(drawn):
                label = name if y == tall // 2 else "   "
                rows.append([(f"{label} ", "faint"), *((glyph, ink) for glyph, _ in row)])
        return rows


class Bands(Drawn):
    """Long-term spectra: the target dim, the model at its present checkpoint bright."""

    FLOOR_DB = 72.0  # below the loudest band, where the axis ends

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self.spectrum: Spectrum | None = None
        self.border_title = "spectrum"

    def show(self, spectrum: Spectrum | None) -> None:
        """Draw these spectra; None where there are none yet."""
        if spectrum == self.spectrum:
            return
        self.spectrum = spectrum
        dim, bright, _ = DOTTED if self.glyphs.name == "ascii" else SHADED
        self.border_title = f"spectrum  target {dim}, model {bright}" if spectrum and spectrum.hz else "spectrum"
        self.border_subtitle = farthest(spectrum) if spectrum else ""
        self.repaint()

    def draw(self, width: int, height: int) -> list[Row]:
        s = self.spectrum
        if s is None or len(s.hz) < 2:
            return [[], [("  comes with the first checkpoint", "dim")]]
        loudest = max(*s.target_db, *s.model_db)
        levels, hertz = Scale(loudest - self.FLOOR_DB, loudest + 3), Scale(s.hz[0], s.hz[-1], True)
        lines = [
            Line([(hertz.at(f), levels.at(max(db, levels.low))) for f, db in zip(s.hz, band, strict=False)], layer)
            for band, layer in ((s.target_db, DIM), (s.model_db, BRIGHT))
        ]
        named = ((100, "100"), (1000, "1k"), (10_000, "10k Hz"), (300, "300"), (3000, "3k"))
        x_ticks = [(hertz.at(f), text) for f, text in named if s.hz[0] <= f <= s.hz[-1]]
        top = int(loudest // 12) * 12
        y_ticks = [(levels.at(db), f"{db} dB") for db in range(top, int(levels.low), -12)]
        rows = plot(width, height, lines, self.glyphs, y_ticks=y_ticks, x_ticks=x_ticks)
        return [[(glyph, INKS[layer]) for glyph, layer in row] for row in rows]


def farthest(s: Spectrum, audible_db: float = 50.0) -> str:
    """Where the model is farthest from its target, of the bands that can be heard beside the loudest."""
    loudest = max(s.target_db, default=0.0)
    apart = [
        (abs(model - target), model - target, hz)
        for hz, target, model in zip(s.hz, s.target_db, s.model_db, strict=False)
        if target > loudest - audible_db
    ]
    if not apart:
        return ""
    _, by, hz = max(apart)
    where = f"{hz / 1000:.1f} kHz" if hz >= 1000 else f"{hz:.0f} Hz"
    return f"farthest apart at {where}, by {by:+.1f} dB"
