"""Trains the models of `assets/models` by the run files in `runs`, and writes their rows into `assets/SOURCES.md`.

    python assets/make/models.py                        # all of them: two hours and a half on two cores
    python assets/make/models.py klon-overdrive         # one
    python assets/make/models.py --clock cpu            # on a machine that does other things too

What they learn from is made by `wet.py`; only the Klon and the Big Muff are recordings of others, which lie in the
folder `--recordings` (klon_dry.wav, klon_wet_gain000.wav and so on, bigmuff_p030_dry.wav, bigmuff_p030_wet.wav, and
../dry/egtr.wav, a guitar that no model has heard, to judge the rest by). Figures are of what was never learned from.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import soundfile
import soxr
import tomlkit

from jaxmodels import inspect, load
from trainer import finish, reference
from trainer.config import Data
from trainer.losses import LOSSES

HERE = Path(__file__).resolve().parent
RUNS, SOURCES, MODELS = HERE / "runs", HERE.parent / "SOURCES.md", HERE.parent / "models"
KLON = ("dry", "wet_gain000", "wet_gain025", "wet_gain050", "wet_gain075", "wet_gain100")


def main() -> int:
    names = sorted(path.stem for path in RUNS.glob("*.toml"))
    parser = argparse.ArgumentParser(description="Train the shipped models again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all where none is named: " + ", ".join(names))
    parser.add_argument("--recordings", default=_fixtures(), metavar="FOLDER", help="where those of others lie")
    parser.add_argument("--work", default="build/models", metavar="FOLDER", help="for sounds and unfinished runs")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="which seconds a run takes (wall)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the time a run takes (1)")
    parser.add_argument("--judge", action="store_true", help="do not train, look at the models that are there")
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"no run file is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    work, recordings = Path(args.work), Path(args.recordings)
    MODELS.mkdir(exist_ok=True)
    gather(work, recordings)
    for name in args.names or names:
        if not args.judge:
            train(name, work, args.clock, args.scale)
        figures = judged(name, work, recordings)
        row = f"| `models/{name}.nafx` | {said(name)}; {figures} | `python assets/make/models.py {name}` |"
        print(row, flush=True)
        write(name, f"{row} `{hashlib.sha256((MODELS / f'{name}.nafx').read_bytes()).hexdigest()}` |")
    return 0


def _fixtures() -> str:
    return str(Path(os.environ["NAFX_FIXTURES"], "audio", "dev")) if "NAFX_FIXTURES" in os.environ else ""


def gather(work: Path, recordings: Path) -> None:
    """Everything that the run files name, in one folder."""
    if not (work / "dry.wav").exists():
        subprocess.run([sys.executable, HERE / "wet.py", work], check=True)
    (work / "klon").mkdir(exist_ok=True)
    for source, name in [
        *((f"klon_{part}.wav", f"klon/klon_{part}.wav") for part in KLON),
        *((f"bigmuff_p030_{part}.wav", f"bigmuff_{part}.wav") for part in ("dry", "wet")),
    ]:
        if (recordings / source).exists() and not (work / name).exists():
            shutil.copy(recordings / source, work / name)


def train(name: str, work: Path, clock: str, scale: float) -> None:
    """One run, in the folder with its sounds; the model then goes to the others."""
    run = tomlkit.parse((RUNS / f"{name}.toml").read_text())
    schedule = run.setdefault("schedule", tomlkit.table())
    schedule["clock"] = clock
    schedule["seconds"] = schedule["seconds"] * scale
    (work / f"{name}.toml").write_text(tomlkit.dumps(run))
    subprocess.run([sys.executable, "-m", "trainer", f"{name}.toml"], cwd=work, stdout=sys.stderr, check=True)
    shutil.copyfile(work / f"{name}.nafx", MODELS / f"{name}.nafx")


def said(name: str) -> str:
    """What a model is: the first line of its run file."""
    return (RUNS / f"{name}.toml").read_text().partition("\n")[0].lstrip("# ").rstrip(".")


def judged(name: str, work: Path, recordings: Path) -> str:
    """A model's figures in words."""
    run = tomllib.loads((RUNS / f"{name}.toml").read_text())
    info = inspect(MODELS / f"{name}.nafx")[1].info or {}
    metrics = info["metrics"]
    if run["recipe"] == "conditioning":
        own, other = metrics["validation"]["esr"], unheard(name, run, work, recordings)
        return f"ESR {own:.4f} on its own material, {other:.4f} on a guitar that it never heard"
    if run["recipe"] == "steer":
        found, before = metrics["validation"], best_gain(work, run)
        return (
            f"MR-STFT {found['mr_stft_steer']:.3f} (the dry signal at its best level {before:.3f}), "
            f"ESR {found['esr']:.3f} on the last quarter"
        )
    each = metrics["test"]["by_name"]
    return "ESR " + ", ".join(f"{esr:.4f}" for _, esr in sorted(each.items())) + " on what it never heard"


def unheard(name: str, run: dict, work: Path, recordings: Path) -> float:
    """ESR on a guitar that no model has heard, the mean over the positions of the knob."""
    effect = load(MODELS / f"{name}.nafx")
    guitar = work / "unheard.wav"
    signal, rate = soundfile.read(recordings.parent / "dry" / "egtr.wav", dtype="float32")
    soundfile.write(guitar, soxr.resample(signal, rate, effect.sample_rate), effect.sample_rate, subtype="FLOAT")
    data = Data(dry=str(guitar), effect=run["data"]["effect"])
    return finish.measured(effect, reference.pairs(data, run["strategy"], run.get("seed", 0)), 1000)["esr"]


def best_gain(work: Path, run: dict) -> float:
    """MR-STFT of the dry signal, as loud as fits best, on the last quarter."""
    dry, wet = (soundfile.read(work / run["data"][side], dtype="float32")[0] for side in ("dry", "wet"))
    start = round(0.75 * len(dry))
    dry, wet = dry[start:], wet[start:]
    gains = np.concatenate([[np.vdot(dry, wet) / np.vdot(dry, dry)], 10 ** (np.arange(-12, 13) / 20)])
    return min(float(LOSSES["mr_stft_steer"](np.float32(gain) * dry, wet)) for gain in gains)


def write(name: str, row: str) -> None:
    """The row in the table of sources."""
    lines = SOURCES.read_text().rstrip("\n").split("\n")
    at = next((n for n, line in enumerate(lines) if line.startswith(f"| `models/{name}.nafx`")), None)
    if at is None:
        lines.append(row)
    else:
        lines[at] = row
    SOURCES.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
