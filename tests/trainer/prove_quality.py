"""The figures that the trainer must reach on real recordings, measured: `make quality`, two cores, two hours.

    python -m tests.trainer.prove_quality                       # everything
    python -m tests.trainer.prove_quality klon singles --scale 0.1    # a tenth of the time, for a first look
    python -m tests.trainer.prove_quality steer --seeds 3 --set schedule.learning_rate=0.002
    python -m tests.trainer.prove_quality klon --markdown QUALITY.md  # and write them down

Each row is a run of the trainer as a program of its own, on data that it splits by its own rules; figures are of parts
that it never learned from or chose by. On a shared machine the wall's clock says little: a run's seconds are those that
the cores have worked, so that ten minutes on two cores are 1,200 s of CPU time, whatever else goes on (`--clock wall`
asks otherwise).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import tomlkit

from tests.conftest import FIXTURES

DEV, DRY = FIXTURES / "audio" / "dev", FIXTURES / "audio" / "dry"
KLON = {"000": 0.0, "025": 0.25, "050": 0.5, "075": 0.75, "100": 1.0}
KLON_PIECE, TAPS = 11025, 512
SINGLES = {  # the ESR to reach; None: half of the FIR's
    "bigmuff_p030": 0.028,
    "saturator_p085": 0.038,
    "od300_p025_075": 0.46,
    "saturator_p025": None,
    "neutron_od_p030_040": None,
    "neutron_od_p090_060": None,
}
DELAYS = {"od300_p025_075": -41}  # samples, as the check list asks: the wet file comes before what causes it
STEERED = {"overdrive_drive100_bright100": (1.0, 0.2), "bigmuff_p030": (0.95, 0.15), "cl1b_heavy": (0.635, None)}
COMPARED = {"LSTM-16": ("fast", {"hidden": 16}), "LSTM-32": ("fast", {"hidden": 32}), "Conv1D": ("conv1d", {})}
STRATEGIES = ("linear", "inverse", "v", "sin", "random", "random-many")

Row = tuple[str, float, float | None, str]  # what, reached, wanted (below), remark


def trained(folder: Path, run: dict, args: argparse.Namespace) -> dict:
    """One run of the trainer; its last record, with the CPU seconds it took."""
    run = json.loads(json.dumps(run))
    schedule = run.setdefault("schedule", {})
    schedule["clock"] = args.clock
    if args.scale != 1 and "seconds" in schedule:
        schedule["seconds"] *= args.scale
    for text in args.set:
        path, _, value = text.partition("=")
        *tables, key = path.split(".")
        place = run
        for table in tables:
            place = place.setdefault(table, {})
        place[key] = json.loads(value)
    path = folder / "run.toml"
    path.write_text(tomlkit.dumps(run))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "trainer", str(path)], stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if args.log:
        with open(args.log, "a") as log:
            log.write(done.stdout)
    return lines[-1] | {"cpu": after.ru_utime - before.ru_utime}


# --- what is written down ---------------------------------------------------------------------------------------------

HEADER = """# How well the trainer learns

`make quality` makes this table: {about}. Every figure is of sound that the model never learned from and was not chosen
by. A run's minutes are the time that two cores work, and the CPU seconds of its whole process stand beside it.

| figure | asked | reached | | how | date |
|---|---|---|---|---|---|
"""


def noted(path: Path, row: Row) -> None:
    """A row in the table, in place of the one of that name."""
    what, found, wanted, remark = row
    if not path.exists():
        about = f"{platform.machine()}, {cpu()}, JAX {version('jax')}, Python {platform.python_version()}"
        path.write_text(HEADER.format(about=about))
    asked = "" if wanted is None else f"<= {wanted:.3g}"
    verdict = "" if wanted is None else "yes" if found <= wanted else "**no**"
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = path.read_text().splitlines()
    line = f"| {what} | {asked} | {found:.4g} | {verdict} | {remark} | {date} |"
    at = next((n for n, old in enumerate(lines) if old.startswith(f"| {what} |")), len(lines))
    lines[at : at + 1] = [line]
    path.write_text("\n".join(lines) + "\n")


def cpu() -> str:
    """The processor's name, as the system has it."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name")), "CPU")


# --- the proofs -------------------------------------------------------------------------------------------------------


def told(record: dict) -> str:
    return f"{record['steps']} steps, {record['seconds']:.0f} s, {record['cpu']:.0f} s of CPU"


def klon(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """One LSTM-16 with the gain knob; then again without gain .5."""
    recordings = folder / "klon"
    recordings.mkdir()
    for name in ("dry", *(f"wet_gain{name}" for name in KLON)):
        os.symlink(DEV / f"klon_{name}.wav", recordings / f"klon_{name}.wav")
    data = {"folder": str(recordings), "piece": KLON_PIECE, "delay": 0, "validation": 0.1, "test": 0.2, "force": True}
    run = {"out": "klon.nafx", "recipe": "parametric", "schedule": {"seconds": 600.0}, "data": data}
    for left_out in (None, 0.5):
        if args.only not in f"all {left_out}":
            continue
        if left_out is not None:
            data["leave_out"] = {"gain": left_out}
        record = trained(folder, run, args)
        for name, esr in record["metrics"]["test"]["by_name"].items():
            gain = next(gain for digits, gain in KLON.items() if digits in Path(name).stem)
            if left_out is None:
                yield f"klon, gain {gain}", esr, 0.08 if gain == 1 else 0.02, told(record)
            elif gain == left_out:
                yield f"klon, gain {gain} never learned", esr, 0.04, told(record)


def fir_esr(dry: np.ndarray, wet: np.ndarray, at: int) -> float:
    """ESR on the last part of the best linear filter of the first."""
    history = np.concatenate([np.zeros(TAPS - 1), dry])
    columns = np.lib.stride_tricks.sliding_window_view(history, TAPS)
    normal, right = columns[:at].T @ columns[:at], columns[:at].T @ wet[:at]
    taps = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(TAPS) / TAPS, right)
    return float(np.sum((columns[at:] @ taps - wet[at:]) ** 2) / np.sum(wet[at:] ** 2))


def singles(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Captures of one setting, five minutes each, the linear filter beside them."""
    for name, wanted in SINGLES.items():
        if args.only and args.only not in name:
            continue
        (dry, _), (wet, _) = (soundfile.read(DEV / f"{name}_{side}.wav") for side in ("dry", "wet"))
        delay = DELAYS.get(name, 0)
        ahead, behind = dry[max(0, -delay) :], wet[max(0, delay) :]
        size = min(len(ahead), len(behind))
        fir = fir_esr(ahead[:size], behind[:size], round(0.8 * size))
        data = pair(name) | {"validation": 0.0, "test": 0.2, "delay": delay}
        schedule = {"seconds": 300.0, "choose": "last"}
        run = {"out": f"{name}.nafx", "preset": "wavenet", "data": data, "schedule": schedule}
        record = trained(folder, run, args)
        yield name, record["esr"], fir / 2 if wanted is None else wanted, f"FIR {fir:.3f}; {told(record)}"


def pair(name: str) -> dict:
    """A pair of the collection as the trainer's data."""
    return {"dry": f"{DEV}/{name}_dry.wav", "wet": f"{DEV}/{name}_wet.wav", "delay": 0, "force": True}


def steer(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """The CPU preset, ten seeds."""
    for name, (wanted_mr, wanted_esr) in STEERED.items():
        if args.only and args.only not in name:
            continue
        found = []
        for seed in range(args.seeds):
            data = pair(name) | {"validation": 0.25}
            run = {"out": f"{name}.nafx", "recipe": "steer", "seed": seed, "data": data, "schedule": {"seconds": 80.0}}
            record = trained(folder, run, args)
            found.append((record["metrics"]["validation"], told(record)))
            figures = found[-1][0]
            print(f"  seed {seed}: {figures['mr_stft_steer']:.3f} {figures['esr']:.3f}  {found[-1][1]}", flush=True)
        mr, esr = (float(np.median([figures[key] for figures, _ in found])) for key in ("mr_stft_steer", "esr"))
        remark = f"median of {args.seeds} seeds; {found[0][1]}"
        yield f"{name}, MR-STFT", mr, wanted_mr, remark
        yield f"{name}, ESR", esr, wanted_esr, remark
        yield f"{name}, inverted", float(sum(figures["polarity"] < 0 for figures, _ in found)), 0.5, remark


def reverb(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Against the dry signal itself, in five and in thirty minutes."""
    from trainer.losses import LOSSES

    name = "reverb_hall_gtr"
    (dry, _), (wet, _) = (soundfile.read(DEV / f"{name}_{side}.wav", dtype="float32") for side in ("dry", "wet"))
    at = round(0.75 * len(dry))
    identity = float(LOSSES["mr_stft_steer"](dry[at:], wet[at:]))
    for minutes, part in ((5, 0.96), (30, 0.90)):
        run = {"out": f"{name}.nafx", "recipe": "steer", "preset": "reverb", "schedule": {"seconds": 60.0 * minutes}}
        record = trained(folder, run | {"data": pair(name) | {"validation": 0.25}}, args)
        found = record["metrics"]["validation"]["mr_stft_steer"]
        yield f"{name}, {minutes} min", found, part * identity, f"identity {identity:.3f}; {told(record)}"


def conditioning(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Both effects under every strategy."""
    for effect in ("drive", "low_pass"):
        for strategy in STRATEGIES:
            if args.only and args.only not in f"{effect} {strategy}":
                continue
            data = {"dry": f"{DRY}/egtr.wav", "effect": effect, "validation": 0.1, "test": 0.2}
            run = {"out": "c.nafx", "recipe": "conditioning", "strategy": strategy, "data": data}
            record = trained(folder, run | {"schedule": {"seconds": 300.0}}, args)
            wanted = 0.01 if strategy in ("linear", "inverse") else None
            yield f"{effect}, {strategy}", record["esr"], wanted, told(record)


def networks(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """The SuperKnob paper's three networks in the same time, on the strategy that tells them apart."""
    for effect in ("drive", "low_pass"):
        for name, (preset, network) in COMPARED.items():
            if args.only not in f"{effect} {name}":
                continue
            data = {"dry": f"{DRY}/egtr.wav", "effect": effect, "validation": 0.1, "test": 0.2}
            run = {"out": "c.nafx", "recipe": "conditioning", "preset": preset, "strategy": "random-many"}
            record = trained(folder, run | {"network": network, "data": data, "schedule": {"seconds": 60.0}}, args)
            yield f"{effect}, random-many, {name}", record["esr"], None, told(record)


def lfo(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """The flanger with its measured LFO: eight seconds to learn from, the last two to judge by."""
    name = "donner_flanger"
    data = pair(name) | {"control": f"{DEV}/{name}_lfo.wav", "validation": 0.0, "test": 0.2}
    run = {"out": f"{name}.nafx", "data": data, "network": {"hidden": 32}}
    record = trained(folder, run | {"schedule": {"seconds": 600.0, "choose": "last"}}, args)
    yield name, record["esr"], 0.1, told(record)


def shipped(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """The models of assets/models, as they are: nothing is trained."""
    place = Path(__file__).parents[2] / "assets" / "make" / "models.py"
    spec = importlib.util.spec_from_file_location("models", place)
    assert spec and spec.loader
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    from jaxmodels import inspect

    for path in sorted(models.MODELS.glob("*.nafx")):
        if args.only not in path.stem:
            continue
        run = tomllib.loads((models.RUNS / f"{path.stem}.toml").read_text())
        info = inspect(path)[1].info or {}
        remark = f"shipped; {info['steps']} steps, {info['cpu_seconds']:.0f} s of CPU"
        if run["recipe"] == "conditioning":
            wanted = 0.01 if run["strategy"] in ("linear", "inverse") else None
            yield f"{path.stem}, a guitar never heard", models.unheard(path.stem, run, folder, DEV), wanted, remark
        elif run["recipe"] != "steer":
            for name, esr in info["metrics"]["test"]["by_name"].items():
                yield f"{path.stem}, {Path(name).stem}", esr, None, remark


PROOFS: dict[str, Callable[[Path, argparse.Namespace], Iterator[Row]]] = {
    "shipped": shipped,
    "klon": klon,
    "singles": singles,
    "steer": steer,
    "reverb": reverb,
    "conditioning": conditioning,
    "networks": networks,
    "lfo": lfo,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove the trainer's quality on real recordings.")
    parser.add_argument("proofs", nargs="*", help=f"of {', '.join(PROOFS)}; all where none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="of the time each run may take (1)")
    parser.add_argument("--seeds", type=int, default=10, help="of each steered effect (10)")
    parser.add_argument("--only", default="", help="part of a recording's name")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="which seconds a run may take (cpu)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="of every run file; repeatable")
    parser.add_argument("--markdown", default="", metavar="FILE", help="the table to write the figures into")
    parser.add_argument("--log", default="", metavar="FILE", help="where the trainer's lines are added")
    args = parser.parse_args()
    failed = 0
    for name in args.proofs or PROOFS:
        for row in PROOFS[name](Path(tempfile.mkdtemp()), args):
            what, found, wanted, remark = row
            if args.markdown:
                noted(Path(args.markdown), row)
            good = wanted is None or found <= wanted
            failed += not good
            verdict = "" if wanted is None else f"(<= {wanted:.3f}) {'yes' if good else 'NO'}"
            print(f"{what:44} {found:8.4f} {verdict:16} {remark}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
