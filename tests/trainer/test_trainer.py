"""The trainer: a capture that learns, runs that cannot start."""

from __future__ import annotations

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from jaxmodels import apply, load
from trainer import config, data

RATE = 44100


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Four seconds of decaying chords through a soft clipper."""
    folder = tmp_path_factory.mktemp("recording")
    t, rng = np.arange(4 * RATE) / RATE, np.random.default_rng(0)
    dry = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (110.0, 164.8, 277.2)) * np.exp(-2 * (t % 0.5)) / 4
    soundfile.write(folder / "dry.wav", dry, RATE, subtype="FLOAT")
    soundfile.write(folder / "wet.wav", 0.6 * np.tanh(4 * dry), RATE, subtype="FLOAT")
    return folder


def test_a_run_learns_and_leaves_a_file_that_plays(recording, tmp_path):
    run = tmp_path / "run.toml"
    run.write_text(f"""
dry = "{recording}/dry.wav"
wet = "{recording}/wet.wav"
out = "capture.nafx"
seconds = 100
epochs = 10
batch = 3
chunk = 2048
network = {{ hidden = 8 }}
""")
    done = subprocess.run([sys.executable, "-m", "trainer", str(run)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    best = min(x["esr"] for x in lines[:-1])
    assert lines[-1]["event"] == "done" and lines[-1]["esr"] == pytest.approx(best, rel=1e-3)
    assert lines[-1]["esr"] < 0.5 * lines[0]["esr"] and lines[-1]["esr"] < 0.1
    capture = load(tmp_path / "capture.nafx")
    assert capture.sample_rate == RATE
    assert jnp.isfinite(apply(capture, jnp.zeros(100))).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('dry = "a.wav"', "wet"),
        ('dry = "a.wav"\nwet = "b.wav"\nout = "c"\nsecond = 3', "second"),
        ('dry = "a.wav"\nwet = "b.wav"\nout = "c"\nseconds = -3', "seconds = -3"),
        ('dry = "a.wav"\nwet = "b.wav"\nout = "c"\nnetwork = { cell = "rnn" }', "rnn"),
        ('dry = "a.wav"\nwet = "b.wav"\nout = "c"', "a.wav: cannot be read"),
        ("dry = ", "run.toml"),
    ],
)
def test_a_run_that_cannot_start_says_why(tmp_path, text, said):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(config.TrainerError, match=said):
        run = config.load(path)
        data.read_pair(run.dry, run.wet)
