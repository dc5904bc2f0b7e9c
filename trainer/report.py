"""`python -m trainer.report RUN... [--out PAGE.html]`: runs as one page that can be read, heard and sent to someone.

A RUN is a run file, a model file or a folder of them. One run is shown with its curves, spectra, players and figures;
several are compared. What is missing is said on the page, and everything else is made all the same. Beside the page its
figures lie as PNGs, where Pillow is installed. Tells what it does in JSON lines.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts)

from . import charts, compare, examine, page, runs
from .config import TrainerError
from .examine import Study
from .figures import Drawing
from .pictures import REMEDY, can_png, png

MOST_RUNS = len(compare.LETTERS)
SMALL_GRID = 7  # of maps where several runs are compared
ROWS = (  # of the table of figures: key, name, format, in words
    ("esr", "ESR", ".4f", "energy of the error over the energy of the sound; 0 is perfect, 1 as wrong as silence"),
    ("mae", "MAE", ".5f", "mean distance of the samples"),
    ("mr_stft", "MR-STFT", ".4f", "difference of the spectra at three sizes, whatever the phase"),
    ("mr_stft_steer", "MR-STFT (steering)", ".4f", "the same at the sizes that steering learns by"),
    ("stft", "STFT", ".4f", "difference of the spectra at one size"),
    ("lufs_difference", "loudness", "+.2f", "LU; positive is louder than the target"),
    ("dc", "DC", "+.5f", "how far the wave's middle is off"),
    ("polarity", "polarity", "+.0f", "-1 would be upside down"),
)
COLUMNS = {"model": "model", "best volume": "only the volume", "nothing": "no effect"}
MADE_BY = "Made by nafx-rack report. Levels in dB relative to full scale; nothing here needs a network."


def make(paths: Sequence[Path], out: Path | None, say: Callable[[dict], None], *, recordings: Path | None = None,
         grid: int = 11, pictures: bool = True) -> Path:  # fmt: skip
    """The page of one or more runs; answers where it is. Raises TrainerError."""
    if recordings is not None and not recordings.is_dir():
        raise TrainerError(f"{recordings}: is no folder; --recordings names the one that the recordings are in now")
    found = [each for path in paths for each in runs.find(path, recordings)]
    found = list({each.model.resolve(): each for each in found}.values())
    if len(found) > MOST_RUNS:
        raise TrainerError(f"{len(found)} runs are too many for one page; name up to {MOST_RUNS} of them")
    studies = []
    for each in found:
        say({"event": "measuring", "run": each.name})
        studies.append(examine.study(each, grid if len(found) == 1 else min(grid, SMALL_GRID)))
    place = out or found[0].model.with_name(f"{found[0].name if len(found) == 1 else 'comparison'}-report.html")
    text, drawings = single(studies[0]) if len(studies) == 1 else several(studies)
    _write(place, text.encode())
    for study in studies:
        for sentence in study.missing:
            say({"event": "missing", "run": study.found.name, "text": sentence})
    folder = place.with_name(f"{place.stem}-figures")
    if pictures and not can_png():
        say({"event": "missing", "run": "", "text": f"{REMEDY}."})
    elif pictures:
        with _told(folder):
            folder.mkdir(exist_ok=True)
        for drawing in drawings:
            _write(folder / f"{drawing.name}.png", png(drawing))
    names = [f"{drawing.name}.png" for drawing in drawings] if pictures and can_png() else []
    say({"event": "report", "page": str(place), "folder": str(folder) if names else "", "pictures": names})
    return place


@contextlib.contextmanager
def _told(path: Path):
    try:
        yield
    except OSError as error:
        raise TrainerError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    with _told(path):
        unfinished.write_bytes(data)
        os.replace(unfinished, path)


# --- one run ----------------------------------------------------------------------------------------------------------


def single(study: Study) -> tuple[str, list[Drawing]]:
    """The page of a run, and its drawings."""
    parts = [page.words(sentence, "note") for sentence in study.missing]
    if study.excerpts:
        clips = [page.listening(examine.clip(each)) for each in study.excerpts]
        parts.append(page.section("Listen", page.words(_listen_words(study), "soft"), *clips))
    if study.figures:
        parts.append(page.section("In numbers", figures(study)))
    panels = charts.panels(study)
    parts += [page.panel(panel) for panel in panels]
    parts.append(page.section("How it was made", page.table(["", ""], made(study))))
    return page.page(study.found.name, verdict(study), parts, MADE_BY), _drawings(panels)


def _drawings(panels: Sequence[charts.Panel]) -> list[Drawing]:
    return [drawing for panel in panels for drawing, _ in panel.figures]


def verdict(study: Study) -> str:
    """What has become of the run, in a sentence or two."""
    error = compare.esr(study)
    if error is None:
        return "Nothing could be measured."
    said = f"It sounds {charts.grade(error)}: ESR {error:.2g}."
    if study.part == "train":
        return f"{said} Measured on what it learned from, as nothing was kept back."
    if "best volume" in study.figures:
        ratio = study.figures["best volume"]["esr"] / max(study.figures["model"]["esr"], 1e-9)
        said += f" Turning only the volume would leave {ratio:.3g} times the error." if ratio > 1 else (
            " Turning only the volume of the dry sound comes as near: the network has not found the effect."
        )  # fmt: skip
    return said


def _listen_words(study: Study) -> str:
    heard = {"test": "that nothing has seen before", "validation": "that was not learned from"}
    which = heard.get(study.part, "that was learned from")
    return (
        f"The loudest {examine.CLIP_S:g} seconds of the recording {which}. Press play on one and then on another: "
        "the second goes on where the first was."
    )


def figures(study: Study) -> str:
    """The table of figures: the model, and beside it what could be had without one."""
    head = ["", *(COLUMNS[row] for row in study.figures), ""]
    rows = [
        [name, *(format(study.figures[row][key], how) for row in study.figures), words]
        for key, name, how, words in ROWS
        if key in study.figures["model"]
    ]
    return page.table(head, rows)


def made(study: Study) -> list[list[str]]:
    """Data, settings, seed, licence: what the run file and the model file say."""
    found, rows = study.found, []
    facts, run = found.facts, found.run
    info = (facts.info if facts else None) or {}
    if facts:
        weights = f", {facts.parameters:,} weights" if facts.parameters else ""
        rows.append(["network", f"{facts.architecture}{weights}, {study.rate} Hz"])
    if found.effect is not None:
        past = found.effect.receptive_field
        rows.append(["hears back", f"{past:,} samples ({1000 * past / study.rate:.0f} ms)" if past else "without end"])
        if found.effect.knobs:
            rows.append(["knobs", ", ".join(knob.name for knob in found.effect.knobs)])
    if run is not None:
        rows.append(["recipe", f"{run.recipe}, preset {run.preset}"])
        if run.recipe == "conditioning":
            rows.append(["strategy", run.strategy])
        names = [Path(name).name for name in (run.data.dry, run.data.wet, run.data.folder) if name]
        rows.append(["recordings", ", ".join([*names, *([run.data.effect] if run.data.effect else [])]) or "unknown"])
        rows.append(["seed", str(run.seed)])
        for title, settings in (("network settings", run.network), ("schedule", run.schedule), ("loss", run.loss)):
            if settings:
                rows.append([title, ", ".join(f"{key} {value}" for key, value in settings.items())])
    lasted = info.get("data")
    lasted = [row for row in lasted if isinstance(row, dict)] if isinstance(lasted, list) else []
    for part in ("train", "validation", "test"):
        of_part = [row["seconds"] for row in lasted if row.get("part") == part and charts.is_number(row.get("seconds"))]
        if of_part:
            rows.append([f"{part} material", f"{sum(of_part):.1f} s in {len(of_part)} recordings"])
    measured = info.get("metrics")
    for part, of_part in measured.items() if isinstance(measured, dict) else []:
        if isinstance(of_part, dict) and charts.is_number(of_part.get("esr")):
            rows.append([f"ESR, all of {part}", f"{of_part['esr']:.4f}"])
    for key in ("steps", "date", "licence"):
        if isinstance(info.get(key), str | int) and info[key] != "":
            rows.append([key, str(info[key])])
    if not info.get("licence"):
        rows.append(["licence", "not said"])
    warnings = [record.get("text") for record in found.records if record.get("event") == "warning"]
    return rows + [["warning", text] for text in warnings if isinstance(text, str)]


# --- several ----------------------------------------------------------------------------------------------------------


def several(studies: Sequence[Study]) -> tuple[str, list[Drawing]]:
    """The page that compares runs, and its drawings; each run's own figures are folded below."""
    parts = [page.words(f"{study.found.name}: {said}", "note") for study in studies for said in study.missing]
    head, rows = compare.table(studies)
    parts.append(page.section("In numbers", page.table(head, rows, compare.inks(len(rows)))))
    if any(study.excerpts for study in studies):
        parts.append(page.section("Listen", *_side_by_side(studies)))
    panels = compare.panels(studies)
    parts += [page.panel(panel) for panel in panels]
    for letter, study in zip(compare.LETTERS, studies, strict=False):
        inner = [page.words(verdict(study))]
        inner += [page.section("In numbers", figures(study))] if study.figures else []
        inner += [page.panel(panel) for panel in charts.panels(study)]
        inner.append(page.section("How it was made", page.table(["", ""], made(study))))
        parts.append(page.folded(f"{letter}  {study.found.name}", inner))
    title = f"{len(studies)} runs compared"
    return page.page(title, compare.verdict(studies), parts, MADE_BY), _drawings(panels)


def _side_by_side(studies: Sequence[Study]) -> list[str]:
    lettered = list(zip(compare.LETTERS, studies, strict=False))
    if not compare.same_sound(studies):
        return [
            page.words(f"{letter}  {study.found.name}") + page.listening(examine.clip(each))
            for letter, study in lettered
            for each in study.excerpts[len(study.excerpts) // 2 :][:1]
        ]
    parts = []
    for n in range(len(studies[0].excerpts)):
        clips = [(f"{letter}  {study.found.name}", examine.clip(study.excerpts[n]).model) for letter, study in lettered]
        parts.append(page.listening(examine.clip(studies[0].excerpts[n]), clips))
    return parts


# --- the program ------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    parser = argparse.ArgumentParser(prog="python -m trainer.report", description="Training runs as a page.")
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run file, a model file, or a folder")
    parser.add_argument("--out", metavar="PAGE.html", type=Path, help="where to write it; else beside the first model")
    parser.add_argument("--recordings", metavar="FOLDER", type=Path, help="where the recordings are now")
    parser.add_argument("--grid", metavar="N", type=int, default=11, help="places along each side of a map (11)")
    parser.add_argument("--no-png", action="store_true", help="only the page")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; answers the exit status."""
    args = parser().parse_args(arguments)
    from jaxmodels.files import ModelFileError

    from .train import print_line

    try:
        if not 2 <= args.grid <= 64:
            raise TrainerError(f"--grid {args.grid}: must be 2 to 64")
        make(args.runs, args.out, print_line, recordings=args.recordings, grid=args.grid, pictures=not args.no_png)
    except (TrainerError, ModelFileError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
