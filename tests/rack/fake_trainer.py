"""A trainer that learns nothing: `fake_trainer.py RUN.toml --resume`. What it does stands in the run file's [fake].

Without [fake], outside a sweep, the real one does the work; where there is a file `full` in NAFX_RACK_HOME, its files
can take no more.

It speaks as the real one does: JSON lines, a checkpoint, `<out>.pause`, `<out>.stop`. Its model is JSON that the fake
workshop understands. What it was when it began goes to `trainer.jsonl` in NAFX_RACK_HOME.
"""

import json
import os
import resource
import signal
import sys
import time
import tomllib
from pathlib import Path

path = Path(sys.argv[1])
home = Path(os.environ.get("NAFX_RACK_HOME", path.parent))
run = tomllib.loads(path.read_text())
if "fake" not in run and "NAFX_FAKE_TRAINING" not in os.environ:
    if (home / "full").exists():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # JAX would complain of it, into a log that can take no more
    os.execv(sys.executable, [sys.executable, "-m", "trainer", *sys.argv[1:]])
fake, out = run.get("fake", {}), path.parent / run["out"]
saved, pause, stop = (Path(f"{out}.{what}") for what in ("checkpoint", "pause", "stop"))


def say(event, **record):
    print(json.dumps({"event": event, **record}), flush=True)


def write(to, text):
    Path(f"{to}.tmp").write_text(text)
    os.replace(f"{to}.tmp", to)


def keep(step, name="trained"):
    global kept
    write(saved, str(step))
    if kept != step:  # the model is written when it is a better one
        write(out, json.dumps({"program": f"{name}{step}", "knobs": ["c1", "c2"]}))
    kept = step
    say("checkpoint", step=step, out=str(out))


def held(step):
    """A test holds it here until the file of its job, or of its model, is gone or says another step."""
    gates = (home / f"gate-{name}" for name in (path.parent.name, out.stem))
    return any(gate.exists() and step >= int(gate.read_text() or 0) for gate in gates)


step = int(saved.read_text()) if saved.exists() else 0
kept = -1
began = {"pid": os.getpid(), "job": path.parent.name, "run": path.name, "step": step, "nice": os.nice(0)}
with open(home / "trainer.jsonl", "a") as log:
    log.write(json.dumps({**began, "session": os.getsid(0) == os.getpid()}) + "\n")
if fake.get("fails"):
    print(f"Traceback of something\ntrainer: {fake['fails']}", file=sys.stderr)
    sys.exit(1)
say("start", network={"kind": "Fake"}, parameters=7, step=step, resumed=step > 0)
if run.get("reroll"):
    keep(run["seed"], "rolled")
    say("done", out=str(out), seed=run["seed"])
    sys.exit(0)
steps, stopped = fake.get("steps", 4), False
while step < steps and not stopped:
    step += 1
    if step == 1:
        say("warning", what="polarity", text="the model plays upside down")
    if step == 2:
        say("warning", what="plateau", text="no better since step 1")  # the third is better
    best = 2 / step if step > 2 else float("nan")
    say("validation", step=step, loss=1 / step, esr=0.5 / step, validation_loss=2 / step, best=best, done=0.5,
        rate=3.0, eta=1.0, seconds=step / 10)  # fmt: skip
    if step % fake.get("every", 2) == 0:
        keep(step)
    if step in fake.get("dies", ()):
        os.kill(os.getpid(), signal.SIGKILL)
    while (held(step) or pause.exists()) and not stop.exists():
        if pause.exists():
            keep(step)
            say("paused", step=step)
            while pause.exists() and not stop.exists():
                time.sleep(0.005)
            say("continued", step=step)
        time.sleep(0.005)
    stopped = stop.exists()
keep(step)
write(out, json.dumps({"program": f"finished{step}", "knobs": ["c1", "c2"]}))
figures = {"validation": {"esr": 0.02 / (1 + run.get("seed", 0))}}
say("done", out=str(out), esr=0.02, stopped=stopped, steps=step, metrics=figures)
if not stopped:
    saved.unlink()
