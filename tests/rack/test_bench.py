"""The benchmark measures the right thing: shapes of its answers, its choices, and the same networks in every engine."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmodels import xla
from jaxmodels.boxes import make
from jaxmodels.effect import apply
from rack import bench
from rack.catalogue import catalogue
from rack.config import parse
from rack.errors import RackError
from tests.variants import slow_except


@pytest.fixture(autouse=True)
def in_a_process_that_runs_jax_already(monkeypatch):
    monkeypatch.setattr(xla, "for_programs", lambda: None)


def run(capsys, **wanted):
    chosen = dict.fromkeys(("engines", "models", "blocks", "markdown"))
    given = {"json": True, "quick": True, **chosen} | wanted
    assert bench.main(argparse.Namespace(**given)) == 0
    return capsys.readouterr().out


def test_answers_one_result_for_each_engine_model_and_block(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    report = json.loads(run(capsys, engines="jax,torch", models="gain,lstm16", blocks="64,17"))
    made = [(found["engine"], found["model"], found["block"]) for found in report["results"]]
    assert made == [("jax", "gain", 64), ("jax", "gain", 17), ("jax", "lstm16", 64), ("jax", "lstm16", 17)]
    assert all(0 < found["ns_per_sample"] < 1e7 for found in report["results"])
    reasons = {found["model"]: found["reason"] for found in report["skipped"]}
    assert "only lstm8" in reasons["gain"] and "torch is not installed" in reasons["lstm16"]
    assert report["machine"]["jax"] == jax.__version__ and report["machine"]["cores"] >= 1


def test_the_table_has_a_row_for_each_model(capsys):
    text = run(capsys, json=False, engines="jax", models="gain", blocks="64")
    assert "gain" in text and "64" in text.splitlines()[0]


def test_the_table_is_written_where_one_wants_it(capsys, tmp_path):
    run(capsys, engines="jax", models="gain", blocks="64,17", markdown=str(tmp_path / "table.md"))
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "| jax | gain | " in lines[-1] and lines[-1].count("|") == lines[-3].count("|")


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"engines": "numpy"}, "no engine 'numpy'; there are: jax, torch, torch_paper, onnxruntime"),
        ({"models": "lstm16,lstm17"}, "no model 'lstm17'; there are: lstm8, "),
        ({"blocks": "64,many"}, "whole numbers"),
        ({"blocks": "64,4096"}, "--blocks 4096: must be 1 to 2048"),
    ],
)
def test_a_choice_that_is_not_there_is_an_error_in_words(capsys, wrong, said):
    with pytest.raises(RackError) as caught:
        run(capsys, **wrong)
    assert said in str(caught.value)


def test_every_box_and_every_rack_has_a_name():
    names = bench.names()
    assert set(bench.BOXES) < set(names) and "rack:nemo" in names and len(set(names)) == len(names)


SMALL = b"""
[racks.small]
channels = 2
slots = [{ type = "gain", knobs = { gain = -6.0 } }, { type = "gain", knobs = { gain = -3.0 }, bypass = true }]
"""


def test_a_rack_is_measured_as_it_plays(monkeypatch):
    racks, problems = parse(SMALL, Path("racks.toml"), catalogue())
    assert not problems
    monkeypatch.setattr(bench, "_shipped", lambda: racks.racks)
    step, channels = bench.step_for("jax", "rack:small", 64)
    x = np.repeat(bench.plucks(16384)[:, None], channels, axis=1)
    y = np.concatenate([step(x[at : at + 64]) for at in range(0, len(x), 64)])
    late = make("limiter", channels=2).latency
    settled = slice(12288, None)  # a bypass fades in
    np.testing.assert_allclose(y[late:][settled], x[: len(x) - late][settled] * 10 ** (-6 / 20), atol=1e-5)


def test_blocks_come_one_after_another_and_are_all_timed():
    seen = []
    blocks = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    costs = bench.measure([(lambda block: seen.append(block[0, 0]), blocks)], bench.Plan(2, 0.0))
    assert len(costs) == 1 and costs[0] > 0 and seen == [0, 2, 4] * 20


def test_engines_take_turns():
    seen = []
    turns = [(lambda block, name=name: seen.append((name, len(block))), np.zeros((3, size, 1), np.float32))
             for name, size in (("a", 2), ("b", 5))]  # fmt: skip
    assert len(bench.measure(turns, bench.Plan(1, 0.0))) == 2
    assert [name for name, _ in itertools.groupby(seen)] == [("a", 2), ("b", 5), ("a", 2), ("b", 5)]


def test_the_yardstick_is_measured_again_with_every_row(monkeypatch):
    """A machine that gets slower between two rows makes neither of them look dearer."""
    pace = iter([1] * 6 + [3] * 6)  # three times slower from the second row on
    monkeypatch.setattr(bench, "_run", lambda step, coming, seconds: step(next(coming)) * next(pace))
    monkeypatch.setattr(bench, "step_for", lambda engine, model, block: ((lambda x: 1000.0), 1))
    monkeypatch.setattr(bench, "peer_step", lambda engine, model, block: lambda x: 4000.0)
    monkeypatch.setattr(bench, "stored", lambda step: {})
    report = bench.bench(["jax", "onnxruntime"], ["gain"], [64, 512], bench.Plan(1, 0.0))
    found = {(row["engine"], row["block"]): row["in_y"] for row in report["results"]}
    assert found["jax", 64] == 2.0 and found["jax", 512] == 0.25
    said = bench.markdown(report)
    assert "| 64 in Y | 512 in Y |" in said and "measured in turns" in said
    monkeypatch.setattr(bench, "peer_step", nothing)
    monkeypatch.setattr(bench, "_run", lambda step, coming, seconds: 1.0)
    bare = bench.bench(["jax", "onnxruntime"], ["gain"], [64], bench.Plan(1, 0.0))
    assert "in_y" not in bare["results"][0] and " in Y" not in bench.markdown(bare).partition("|")[2]


def nothing(engine, model, block):
    raise bench.Skip("not here")


def test_a_step_continues_where_the_block_before_ended():
    step, _ = bench.step_for("jax", "lstm16", 64)
    x = bench.plucks(640)
    y = np.concatenate([step(block) for block in x.reshape(-1, 64, 1)])
    np.testing.assert_allclose(y[:, 0], apply(bench.recurrent("lstm16"), x), atol=1e-6)


OTHERS = [
    *itertools.product(["torch", "onnxruntime"], ["lstm16", "gru16"]),
    *itertools.product(["torch", "torch_paper"], bench.PEER_TCNS),
    *itertools.product(["torch"], ["nam_nano", "a2_lite"]),
]


@pytest.mark.parametrize("engine, name", slow_except([*OTHERS[:4], ("torch", "nam_nano")], OTHERS))
def test_other_engines_compute_the_same(engine, name):
    pytest.importorskip(engine.partition("_")[0])
    blocks = bench.plucks(640).reshape(-1, 64, 1)
    ours, theirs = (bench.step_for(which, name, 64)[0] for which in ("jax", engine))
    np.testing.assert_allclose([theirs(block) for block in blocks], [ours(block) for block in blocks], atol=1e-5)


def test_plucks_are_a_signal():
    x = bench.plucks(bench.RATE)
    assert x.shape == (bench.RATE,) and x.dtype == np.float32
    assert 0.01 < np.sqrt(np.mean(x**2)) < 0.5 and np.abs(x).max() <= 1
