"""Several workers on one study, in PostgreSQL, SQLite and a journal, one of them killed; and a sweep that trains."""

from __future__ import annotations

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxmodels import inspect, load
from trainer import study
from trainer.sweepfile import load as load_sweep

from .sweep_worker import HELD
from .test_recipes import plucked
from .test_sweep import events, planned

pytestmark = pytest.mark.slow
TOP = Path(__file__).parents[2]
TRIALS = 6


@pytest.fixture(scope="module")
def postgres():
    """The URL of a PostgreSQL server of our own, reached by a socket alone, which keeps nothing."""
    pytest.importorskip("psycopg")
    found = [path for path in [shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))] if path]
    if not found:
        pytest.skip("no PostgreSQL on this machine (Debian and Ubuntu: apt-get install postgresql)")
    programs = Path(found[-1]).parent
    folder = tempfile.mkdtemp(prefix="nafx-pg-")  # a short path: sockets have no long ones
    somebody = {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        somebody = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(program, *words):
        with open(os.path.join(folder, f"{program}.log"), "a+") as log:  # no pipe: the server would hold it open
            line = [programs / program, "-D", f"{folder}/data", *words]
            done = subprocess.run(line, stdout=log, stderr=log, cwd=folder, **somebody)
            log.seek(0)
            assert done.returncode == 0, log.read()

    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c shared_buffers=8MB"
    try:
        run("initdb", "--auth=trust", "--username=sweep", "--no-sync", "--no-locale", "--encoding=UTF8")
        run("pg_ctl", "start", "-w", "-t", "300", "-o", settings, "-l", f"{folder}/server.log")
        yield f"postgresql://sweep@/postgres?host={folder}"
        run("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["postgres", "sqlite", "journal"])
def storage(request):
    """What a sweep file says of where the study is."""
    if request.param == "postgres":
        return f'name = "{request.node.name}"\nstorage = "{request.getfixturevalue("postgres")}"'
    return "" if request.param == "sqlite" else 'storage = "shared.journal"'


@pytest.fixture
def worker():
    """Starts workers whose trials train nothing."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "tests.trainer.sweep_worker", *map(str, words)]
        process = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(process, wanted):
    """The first record of a worker that is wanted."""
    return next(record for line in process.stdout if wanted(record := json.loads(line)))


def test_a_killed_worker_loses_one_trial_and_the_others_finish_the_study(tmp_path, storage, worker):
    path = planned(tmp_path, trials=TRIALS, more=storage)
    killed = worker(path, "--hold")
    begun = until(killed, lambda record: record["event"] == "trial")
    until(killed, lambda record: record["event"] == "validation" and record["step"] == HELD)
    others = worker(path), worker(path)  # now: on a busy machine they would leave no trial for a late one
    until(others[0], lambda record: record["event"] == "sweep")
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)
    records = []
    for process in others:
        records += [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=60) == 0, process.stderr.read()

    assert [record["number"] for record in events(records, "lost")] == [begun["number"]]
    again = [record for record in events(records, "trial") if record["again"] is not None]
    assert [(each["again"], each["params"]) for each in again] == [(begun["number"], begun["params"])]
    ended = [record["number"] for record in events(records, "ended")]
    assert len(ended) == len(set(ended)) == TRIALS and begun["number"] not in ended
    plan = load_sweep(path)
    found = study.opened(plan, create=False)
    assert Counter(map(study.state_of, found.trials))["done"] == TRIALS
    assert found.trials[begun["number"]].state.name == "FAIL"
    best = min((trial for trial in found.trials if trial.values), key=lambda trial: trial.value)
    network = {"kind": "lstm", "layers": 1, "hidden": best.params["network.hidden"]}
    assert (tmp_path / "plexi.nafx").read_text() == f"a model with {network}"


TRAINING = """
out = "soft.nafx"
trials = 1
[run]
data = { dry = "dry.wav", wet = "wet.wav", delay = 0, licence = "CC0-1.0" }
schedule = { steps = 4, seconds = 0, batch = 2, segment = 1024, chunk = 512, warm_up = 64, validate_every = 2 }
[space]
network.hidden = [2, 3]
schedule.learning_rate = { low = 1e-3, high = 1e-2, log = true }
"""


def test_a_sweep_trains_models_that_play(tmp_path):
    rate = 44100
    dry = plucked(rate, np.random.default_rng(0))
    soundfile.write(tmp_path / "dry.wav", dry, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "wet.wav", np.tanh(2 * dry), rate, subtype="FLOAT")
    (tmp_path / "sweep.toml").write_text(TRAINING)

    def command(*words):
        line = [sys.executable, "-m", "rack.cli", "sweep", *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": TOP})

    done = command("--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["done"] for record in events(records, "validation")] == [0.5, 1.0], done.stdout
    best = records[-1]
    assert best["event"] == "best" and best["out"] == str(tmp_path / "soft.nafx") and best["value"] > 0
    effect, (_, facts) = load(tmp_path / "soft.nafx"), inspect(tmp_path / "soft.nafx")
    assert effect.settings.hidden == records[1]["params"]["network.hidden"] and facts.licence == "CC0-1.0"
    assert facts.esr == pytest.approx(best["value"])
    kept = sorted(path.name for path in (tmp_path / "soft-sweep").iterdir())
    assert kept == ["soft-0000.nafx", "soft-0000.nafx.log.jsonl", "soft-0000.nafx.toml", "study.db"]
    shown = command("--show").stdout.splitlines()
    assert shown[1].split()[:2] == ["0", "done"] and shown[-1] == "1 of 1 trials have ended"

    (tmp_path / "dry.wav").unlink()
    (tmp_path / "sweep.toml").write_text(TRAINING.replace("trials = 1", "trials = 2"))
    failed = command()
    assert failed.returncode == 0 and "trial 1: failed: " in failed.stdout and "dry.wav" in failed.stdout
