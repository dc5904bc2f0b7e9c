"""The sounds that come with the program: listed, small, and what their scripts make."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from jaxmodels import apply, assets, inspect, load
from jaxmodels.assets import assets_folder
from trainer import reference

SOUNDS = ("irs/4x12-dark.wav", "irs/1x12-bright.wav", "irs/2x12-room.wav", "audio/guitar.wav", "audio/bass.wav")


@pytest.fixture(scope="module")
def made_again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    for script, part in (("irs.py", "irs"), ("loops.py", "audio")):
        subprocess.run([sys.executable, assets_folder() / "make" / script, folder / part], check=True)
    return folder


@pytest.mark.parametrize("name", SOUNDS)
def test_its_script_makes_it(name, made_again):
    kept, rate = soundfile.read(assets_folder() / name)
    made, _ = soundfile.read(made_again / name)
    np.testing.assert_allclose(made, kept, atol=1.1 / 32768)
    assert rate == 48000


def test_sources_lists_every_sound_and_model_with_its_sum():
    folder = assets_folder()
    listed = dict(re.findall(r"^\| `([^`]+)` .* `([0-9a-f]{64})` \|$", (folder / "SOURCES.md").read_text(), re.M))
    there = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.*") if path.suffix in (".wav", ".nafx")}
    assert there == listed.keys() and set(SOUNDS) == {name for name in listed if name.endswith(".wav")}
    for name, expected in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


@pytest.mark.parametrize("name", SOUNDS)
def test_it_is_small(name):
    size = (assets_folder() / name).stat().st_size
    assert size < (100_000 if name.startswith("irs") else 1_000_000)


def test_the_models_are_small_and_say_whose_they_are_and_how_they_were_made():
    found = sorted((assets_folder() / "models").glob("*.nafx"))
    assert {path.stem for path in found} == {path.stem for path in (assets_folder() / "make" / "runs").glob("*.toml")}
    assert sum(path.stat().st_size for path in found) < 5_000_000
    for path in found:
        facts = inspect(path)[1]
        info = facts.info or {}
        assert facts.licence and not info.get("unfinished") and info["settings"]["schedule"]["seconds"] > 0, path.name
        figures = [name for part in info["metrics"].values() for name in part["by_name"]]
        assert "/" not in "".join([*figures, *(pair["name"] for pair in info["data"])]), path.name
        assert 0 <= info["esr"] < (1.5 if info["recipe"] == "steer" else 0.05), path.name


DEVICES = {"drive": reference.drive, "low-pass": reference.low_pass}


@pytest.mark.parametrize("stem", ["drive-linear", "low-pass-linear", "drive-random-many", "low-pass-random-many-32"])
def test_a_shipped_model_plays_what_it_learned_from_along_its_knob(stem):
    model = load(assets_folder() / "models" / f"{stem}.nafx")
    assert [(knob.name, knob.low, knob.high) for knob in model.knobs] == [("amount", 0.0, 1.0)]
    loop = soundfile.read(assets_folder() / "audio" / "guitar.wav", dtype="float32")[0][:48000]
    device = next(device for name, device in DEVICES.items() if stem.startswith(name))
    amounts = reference.table("random-many" if "many" in stem else "linear", 0)
    for position, amount in (amounts[1], amounts[-3]):
        target, y = device(loop, 48000, amount), apply(model, jnp.asarray(loop), np.float32([position]))
        assert np.sum((np.asarray(y) - target) ** 2) < 0.02 * np.sum(target**2)


@pytest.mark.parametrize(("name", "seconds"), [("guitar", 8), ("bass", 4)])
def test_a_loop_closes_and_leaves_headroom(name, seconds):
    loop, rate = soundfile.read(assets_folder() / "audio" / f"{name}.wav")
    assert loop.shape == (seconds * rate,)
    assert np.abs(loop).max() == pytest.approx(0.5, abs=1e-3)
    assert abs(loop[0] - loop[-1]) < 0.01
    assert abs(loop.mean()) < 1e-3
    loudness = np.sqrt(np.mean(loop.reshape(-1, rate // 4) ** 2, axis=1))
    assert loudness.min() > 0.005  # no hole


def test_the_guitar_is_in_tune():
    """The broken chord of the fourth bar begins with A2."""
    loop, rate = soundfile.read(assets_folder() / "audio" / "guitar.wav")
    begun = loop[round(6.05 * rate) : round(6.25 * rate)]
    spectrum = np.abs(np.fft.rfft(begun * np.hanning(len(begun)), 1 << 19))
    near = slice(round(100 * (1 << 19) / rate), round(120 * (1 << 19) / rate))
    found = (near.start + spectrum[near].argmax()) * rate / (1 << 19)
    assert abs(1200 * np.log2(found / 110)) < 5


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "jaxmodels"
    package.mkdir()
    monkeypatch.setattr(assets, "__file__", str(package / "assets.py"))
    with pytest.raises(FileNotFoundError, match="_assets"):
        assets_folder()
    shipped = tmp_path / "rack" / "_assets"
    shipped.mkdir(parents=True)
    (shipped / "SOURCES.md").touch()
    assert assets_folder() == shipped
