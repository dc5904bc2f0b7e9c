"""`nafx-rack train`: the run file it writes is one the trainer takes, and records become lines."""

from __future__ import annotations

import argparse

import pytest

from rack import train
from rack.cli import main, parser
from rack.errors import RackError
from trainer import config


def parsed(*words) -> argparse.Namespace:
    return parser().parse_args(["train", *map(str, words)])


def test_options_become_a_run_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = parsed(
        "--dry", "d.wav", "--wet", "w.wav", "--out", "m.nafx", "--minutes", 2, "--size", 24, "--seed", 3,
        "--licence", "MIT", "--target-esr", 0.02, "--force",
    )  # fmt: skip
    run = config.load(train.written(args))
    assert (run.out, run.data.dry, run.data.wet) == tuple(str(tmp_path / name) for name in ("m.nafx", "d.wav", "w.wav"))
    assert run.schedule == {"seconds": 120.0} and run.network == {"hidden": 24}
    assert (run.recipe, run.seed, run.target_esr, run.data.licence) == ("capture", 3, 0.02, "MIT")
    assert run.data.force


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        (["--folder", "f"], "parametric"),
        (["--dry", "d.wav", "--effect", "drive", "--strategy", "sin"], "conditioning"),
        (["--dry", "d.wav", "--wet", "w.wav", "--recipe", "steer", "--preset", "paper"], "steer"),
    ],
)
def test_the_recipe_follows_from_the_recordings(tmp_path, monkeypatch, words, recipe):
    monkeypatch.chdir(tmp_path)
    run = config.load(train.written(parsed("--out", "m.nafx", "--taper", *words)))
    assert run.recipe == recipe and run.network == {"taper": True}


def test_a_model_file_is_needed():
    with pytest.raises(RackError, match="--out"):
        train.written(parsed("--dry", "d.wav"))


def test_records_are_lines_for_people():
    record = {"event": "validation", "done": 0.25, "esr": 0.0312, "loss": 0.04, "rate": 30.0, "eta": 120.0}
    assert train.said(record).split() == "25% ESR 0.0312 loss 0.0400 30x real time 2.0 min left".split()
    done = {"event": "done", "out": "m.nafx", "esr": 0.02}
    assert train.said(done) == "done: m.nafx, ESR 0.0200 (close)"
    assert train.said({"event": "paused", "step": 3}) == "paused"


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX warns, if another test has loaded it
def test_a_run_file_goes_to_the_trainer(tmp_path, capfd):
    assert main(["train", str(tmp_path / "none.toml")]) == 1
    assert "none.toml: cannot be read" in capfd.readouterr().err
