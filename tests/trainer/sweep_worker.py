"""A worker on a sweep whose trials train nothing: `python -m tests.trainer.sweep_worker SWEEP.toml [--hold]`.

What a trial would reach follows from its settings. With `--hold` the first trial stays half done until it is killed.
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Generator
from pathlib import Path

from trainer.sweep import sweep
from trainer.sweepfile import load

STEPS = 5
HELD = 2  # step
MEANT = 12  # hidden units, best of all


def figure(run: dict, done: float = 1.0) -> float:
    """ESR of a run: the further from the best settings the worse, and better with time."""
    hidden, rate = run["network"]["hidden"], run["schedule"]["learning_rate"]
    return (0.01 + ((hidden - MEANT) / MEANT) ** 2 + rate) * (2 - done)


def pretended(path: Path, hold: bool = False) -> Generator[dict | None, None, None]:
    """The records of a run, as the trainer makes them, and its model file."""
    run = tomllib.loads(path.read_text())
    out = Path(run["out"])
    for step in range(1, STEPS + 1):
        esr, done = figure(run, step / STEPS), step / STEPS
        yield {"event": "validation", "step": step, "done": done, "esr": esr, "validation_loss": esr, "loss": esr,
               "rate": 1.0, "eta": 0.0}  # fmt: skip
        while hold and step == HELD:
            time.sleep(0.05)
            yield None
        if Path(f"{out}.stop").exists():
            break
    out.write_text(f"a model with {run['network']}")
    yield {"event": "done", "out": str(out), "stopped": done < 1, "metrics": {"validation": {"esr": esr}}}


def held() -> None:
    """Work on the sweep of the command line."""
    hold = ["--hold"] if "--hold" in sys.argv else []

    def train(path: Path) -> Generator[dict | None, None, None]:
        return pretended(path, hold=bool(hold and hold.pop()))

    sweep(load(Path(sys.argv[1])), lambda record: print(json.dumps(record), flush=True), worker=True, train=train)


if __name__ == "__main__":
    held()
