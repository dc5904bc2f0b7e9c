"""Our own format, the table of formats, and what happens to files that are none of them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmodels import files
from jaxmodels.effect import Chain, Knob, apply
from jaxmodels.files import FORMATS, ModelFileError, load, save
from jaxmodels.formats import own
from jaxmodels.recurrent import GRU, LSTM, Settings
from jaxmodels.settings import setting
from jaxmodels.tcn import MicroTCN, SteerableTCN
from tests.jaxmodels.test_guitarml import document
from tests.jaxmodels.test_recurrent import made, torch_tensors

KNOBS = (Knob("drive", "dB", 0, 30, 6), Knob("bright", labels=("off", "on"), default=0.0))


def network(gates=4, seed=0, **options):
    tensors = torch_tensors(gates, hidden=3, inputs=3, layers=2, bias=False, seed=seed)
    return made(tensors, skip=False, knobs=KNOBS, sample_rate=44100, **options)


NETWORKS = {
    "lstm": network,
    "gru": lambda: network(3),
    "with an initial state": lambda: network(initial=np.full((2, 2, 3), 0.25)),
    "as made for training": lambda: LSTM(Settings(hidden=4)),
    "with a taper": lambda: GRU(Settings(inputs=3, hidden=4, taper=(7, 0))),
    "steerable tcn": lambda: SteerableTCN(SteerableTCN.Settings(2, 4, 3, 2)),
    "micro tcn": lambda: MicroTCN(MicroTCN.Settings(2, 4, 3, 2, causal=False)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_save_load_save_is_equal_bytes_and_an_equal_network(tmp_path, name):
    before = NETWORKS[name]()
    save(tmp_path / "a", before)
    after = load(tmp_path / "a")
    save(tmp_path / "b", after)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert type(after) is type(before) and after.settings == before.settings
    assert after.knobs == before.knobs and after.sample_rate == before.sample_rate
    x = np.random.default_rng(0).uniform(-1, 1, 50)
    np.testing.assert_array_equal(apply(after, x), apply(before, x))
    assert np.abs(apply(after, x)).max() > 0.01


def test_a_restored_network_runs_the_trace_of_the_original(tmp_path):
    traces = []

    @jax.jit
    def step(box, state, x, knobs):
        traces.append(x.shape)
        return box.step(state, x, knobs)

    save(tmp_path / "a", network())
    for box in (network(), load(tmp_path / "a"), network(seed=1)):
        step(box, box.initial_state(), jnp.ones((8, 1)), jnp.ones((8, 2)))
    assert len(traces) == 1


def test_the_caller_overrules_the_rate(tmp_path):
    save(tmp_path / "a", network())
    assert load(tmp_path / "a", sample_rate=48000).sample_rate == 48000
    for rate in (0, -1, 48000.0, True, "48000"):
        with pytest.raises(ValueError, match="sample_rate = .*: must be a whole number of 1000 to 1000000 Hz"):
            load(tmp_path / "a", sample_rate=rate)


def test_the_spec_is_plain_json_in_the_metadata(tmp_path):
    save(tmp_path / "a", network())
    with safetensors.safe_open(tmp_path / "a", "numpy") as file:
        spec, names = json.loads(file.metadata()["nafx"]), set(file.keys())
    assert (spec["format"], spec["kind"], spec["sample_rate"]) == (1, "lstm", 44100)
    given = {"inputs": 3, "hidden": 3, "layers": 2, "bias": False, "skip": False}
    assert spec["settings"] == given | {"fast_tanh": False, "taper": []}
    assert [knob["name"] for knob in spec["knobs"]] == ["drive", "bright"] and spec["knobs"][0]["high"] == 30.0
    assert {"layers.0.weight_ih", "layers.1.weight_hh", "head", "initial"} <= names


class Stack(nnx.Module):
    """A network as another module would add it: settings of several types, a constant, and Params in a list."""

    @dataclass(frozen=True)
    class Settings:
        dilations: tuple = setting((1, 2))
        gain: float = setting(1.0, low=0.0, high=2.0)
        activation: str = setting("tanh", choices=("tanh", "relu"))

    channels, latency, receptive_field = 1, 0, 1

    def __init__(self, settings: Settings = Settings(), *, knobs=(), sample_rate=None, rngs=None):
        self.settings, self.knobs, self.sample_rate = settings, knobs, sample_rate
        self.convs = nnx.List([nnx.Param(jnp.full((2, d), settings.gain)) for d in settings.dilations])
        self.order = nnx.Variable(jnp.arange(3))

    def initial_state(self, knobs=None):
        return ()

    def step(self, state, x, knobs):
        return x * self.convs[0][...][0, 0], state


class Sloppy(Stack):
    """It keeps an array where our format cannot see it."""

    def __init__(self, settings=Stack.Settings(), *, knobs=(), sample_rate=None, rngs=None):
        super().__init__(settings, knobs=knobs, sample_rate=sample_rate)
        self.table = jnp.zeros(2)


def test_another_kind_is_one_row_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(own.KINDS, "stack", Stack)
    before = Stack(Stack.Settings((1, 4, 16), 0.5, "relu"), knobs=(Knob("mix"),), sample_rate=48000)
    save(tmp_path / "a", before)
    after = load(tmp_path / "a")
    assert after.settings == before.settings and hash(after.settings) == hash(before.settings)
    assert [conv.shape for conv in after.convs] == [(2, 1), (2, 4), (2, 16)]
    assert after.order[...].dtype == jnp.int32 and (after.order[...] == jnp.arange(3)).all()
    monkeypatch.setitem(own.KINDS, "sloppy", Sloppy)
    with pytest.raises(ModelFileError, match="not saved: tensor 'table' is not wanted"):
        save(tmp_path / "b", Sloppy())


# --- saving ---


def test_what_cannot_be_saved_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    save(path, network())
    good = path.read_bytes()
    broken = network()
    broken.layers[1].bias[...] = broken.layers[1].bias[...].at[2].set(jnp.nan)
    with pytest.raises(ModelFileError, match=r"model: not saved: tensor layers.1.bias holds .* not finite; go back"):
        save(path, broken)
    with pytest.raises(ModelFileError, match="model: a Chain cannot be saved; these can: ConvStack, GRU, LSTM, "):
        save(path, Chain([network()]))
    assert path.read_bytes() == good and os.listdir(tmp_path) == ["model"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "model"
    save(path, network())
    good = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match="cannot be written: No space left on device"):
        save(path, network(seed=1))
    assert path.read_bytes() == good and os.listdir(tmp_path) == ["model"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="nowhere/a: cannot be written: No such file"):
        save(tmp_path / "nowhere" / "a", network())


# --- what our own format refuses ---


def rewritten(path: Path, change_spec=None, change_tensors=None):
    """A file of ours with something changed in it, written without our writer."""
    save(path, network())
    with safetensors.safe_open(path, "numpy") as file:
        spec, tensors = json.loads(file.metadata()["nafx"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    spec = change_spec(spec) if change_spec else spec
    tensors = change_tensors(tensors) if change_tensors else tensors
    text = spec if isinstance(spec, str) else json.dumps(spec)
    path.write_bytes(safetensors.numpy.save(tensors, {"nafx": text}))
    return path


def knob(**changes):
    return {**dataclasses.asdict(Knob("a")), **changes}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 2}, "format 2 is newer than 1, which this version reads; update nafx-rack"),
        ({"format": "1"}, "format = '1', must be a whole number"),
        ({"format": None}, "format = None"),
        ({"kind": "tcn-9"}, "kind = 'tcn-9', must be one of conv_stack, gru, lstm, "),
        ({"kind": ["lstm"]}, "kind = a list of 1"),
        ({"kind": "gru"}, r"tensor 'layers.0.bias_hn' is missing"),
        ({"sample_rate": 44100.0}, "sample_rate = 44100.0, must be 1000 to 1000000 Hz"),
        ({"sample_rate": 10**30}, "sample_rate = 1"),
        ({"settings": []}, "settings = a list of 0, must be an object"),
        ({"settings": {"hidden": 10**9}}, "lstm.hidden = 1000000000: must be 1 to 1024"),
        ({"settings": {"hidden": 3.0}}, "lstm.hidden = 3.0: must be int"),
        ({"settings": {"width": 3}}, "lstm: no setting 'width'"),
        ({"settings": {"hidden": 1024, "layers": 8}, "knobs": []}, "is float32 .* must be float32|missing"),
        ({"settings": {"inputs": 2, "hidden": 3, "layers": 2}}, "a network of 2 inputs has 1 knobs, not 2"),
        ({"knobs": {}}, "knobs = an object of 0, must be a list"),
        ({"knobs": ["drive", "tone"]}, "a knob is 'drive', must be an object of"),
        ({"knobs": [{"name": "a"}]}, "a knob is an object of 1, must be an object of"),
        ({"knobs": [knob(low=0)]}, "knob 'a': low = 0, must be float"),
        ({"knobs": [knob(name=7)]}, "knob 7: name = 7, must be str"),
        ({"knobs": [knob(labels=[1])]}, "knob 'a': labels = a list of 1, must be tuple"),
        ({"knobs": [knob(low=2.0)]}, "knob a: default 0.5 is outside 2.0..1.0"),
        ({"knobs": [knob(curve="square")]}, "knob a: curve 'square' is not"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_named(tmp_path, changes, message):
    path = rewritten(tmp_path / "a.safetensors", lambda spec: {**spec, **changes})
    with pytest.raises(ModelFileError, match=message) as error:
        load(path)
    assert str(error.value).startswith("a.safetensors: ")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"format": NaN}', "[" * 100_000, '{"format": 1e999}'])
def test_a_spec_that_is_no_object_is_refused(tmp_path, text):
    path = rewritten(tmp_path / "a", lambda spec: text)
    with pytest.raises(ModelFileError, match="^a: "):
        load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: {k: v for k, v in t.items() if k != "head"}, "tensor 'head' is missing"),
        (lambda t: {**t, "tail": np.zeros(1, np.float32)}, "tensor 'tail' is not wanted"),
        (lambda t: {**t, "head": t["head"].T.copy()}, r"tensor head is float32 \[1, 3\], must be float32 \[3, 1\]"),
        (lambda t: {**t, "head": t["head"].astype(np.float64)}, r"head is float64 \[3, 1\], must be float32"),
        (lambda t: {**t, "head": t["head"] * np.float32(np.inf)}, "tensor head holds a number that is not finite"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(ModelFileError, match=message):
        load(rewritten(tmp_path / "a", change_tensors=change))


# --- telling formats apart ---


def test_formats_that_are_not_read_are_named(fixtures):
    families = {
        "nam/core_lstm.nam": r"a NAM capture \(.nam\)",
        "nam_legacy_dir/deluxe_reverb_vibrato": "a NAM 0.4 folder",
        "aidax/tw40_british_lead_deerinkstudios.json": "an AIDA-X capture",
        "rtneural_keras/gru.json": "RTNeural Keras JSON",
        "rtneural_torch/lstm_torch.json": "a PyTorch state_dict as JSON",
        "rtneural_torch/conv1d_torch.json": "a PyTorch state_dict as JSON",
        "stmae/ts9_lstm_32_1_min_input.json": "a PyTorch state_dict as JSON",
        "smartpedal_wavenet/pedalnet.json": "GuitarML WaveNet JSON",
    }
    unread = {row.name for row in FORMATS if row.read is None}
    for path, family in families.items():
        row = next((row for row in unread if re.match(family, row)), None)
        if row is None:
            continue  # it has a reader by now, and that has tests of its own
        with pytest.raises(ModelFileError, match=f"{Path(path).name}: this is {family}.* not read; these can be read"):
            load(fixtures / "models" / path)


@pytest.mark.parametrize(
    "content, family",
    [
        (b"PK\3\4 model.json data.pkl", "PyTorch or Neutone"),
        (b"\x80\2}q\0.", "PyTorch or Neutone"),
        (b"PK\3\4 config.json weights.npy", "NAM 0.4"),
        (b"BMAN\1\0", "namb"),
        (json.dumps({"conv1d": 1, "conv1d_1": 1, "lstm": 1, "dense": 1}).encode(), "SmartAmpPro"),
        (safetensors.numpy.save({"a": np.zeros(3)}), "safetensors file without"),
    ],
)
def test_binary_families_are_named(tmp_path, content, family):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError, match=f"a: this is .*{family}"):
        load(tmp_path / "a")


@pytest.mark.parametrize("length", [0x10280, 0x10480])
def test_a_header_length_that_looks_like_a_pickle_fools_nobody(tmp_path, length):
    """66176 bytes of header begin with 80 02."""
    save(tmp_path / "a", network())
    data = (tmp_path / "a").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    padded = struct.pack("<Q", length) + data[8 : 8 + size].ljust(length) + data[8 + size :]
    assert padded[0] == 0x80
    (tmp_path / "b").write_bytes(padded)
    assert load(tmp_path / "b").settings == network().settings


UNREADABLE = {
    "empty": b"",
    "text": b"a poem",
    "bytes": bytes(range(256)),
    "JSON list": b"[1, 2]",
    "JSON of nobody": b'{"a": 1}',
    "cut JSON": b'{"model_data": {',
    "NaN": b'{"model_data": {}, "state_dict": {"rec.weight_hh_l0": [NaN]}}',
    "Infinity": b'{"model_data": -Infinity, "state_dict": {}}',
    "deep JSON": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 200_000,
    "huge integer": b'{"model_data": 1' + b"0" * 5000 + b"}",
    "not UTF-8": b'{"model_data": "\xff\xfe"}',
    "UTF-16": '{"model_data": 1}'.encode("utf-16"),
    "cut gzip": gzip.compress(b"x" * 1000)[:-12],
    "broken gzip": b"\x1f\x8b\x08\x00garbage",
    "gzip of nothing": gzip.compress(b""),
    "endless header": b"\xff" * 8 + b"{}",
    "header of nothing": struct.pack("<Q", 2) + b"{}",
    "metadata is a list": struct.pack("<Q", 25) + b'{"__metadata__":["nafx"]}',
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_model_is_an_error_with_its_name(tmp_path, case):
    (tmp_path / "thing").write_bytes(UNREADABLE[case])
    with pytest.raises(ModelFileError, match="^thing: "):
        load(tmp_path / "thing")


def test_what_is_no_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none.json", "none.json: cannot be read: No such file"),
        (tmp_path, "not a model file of any known kind; these can be read: nafx-rack's own"),
        ("/dev/zero", "zero: not a file but a device or a pipe"),
        (tmp_path / "pipe", "pipe: not a file but a device or a pipe"),
        ("nul\0byte", "embedded null byte"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
    ):
        with pytest.raises(ModelFileError, match=message):
            load(path)


def test_files_too_large_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 10_000)
    monkeypatch.setattr(files, "LARGEST_UNPACKED", 10_000)
    (tmp_path / "big").write_bytes(b"x" * 10_001)
    with pytest.raises(ModelFileError, match="big: larger than"):
        load(tmp_path / "big")
    layers = gzip.compress(b"x" * 6000, 0)  # 6,000 bytes in a layer of more than 6,000
    for name, content in (("bomb", bytes(10**7)), ("nested", layers)):
        (tmp_path / name).write_bytes(gzip.compress(content))
        with pytest.raises(ModelFileError, match=f"{name}: unpacks to more than"):
            load(tmp_path / name)
    monkeypatch.setattr("jaxmodels.formats.LARGEST_JSON", 5)
    (tmp_path / "long").write_bytes(b'{"a": 1}')
    with pytest.raises(ModelFileError, match="long: JSON of more than"):
        load(tmp_path / "long")


# --- fuzzing: only ModelFileError may come out ---


def _ours() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "a", GRU(Settings(hidden=2), knobs=()))
        return (Path(folder) / "a").read_bytes()


OURS, THEIRS = _ours(), json.dumps(document(inputs=2, knobs=["drive"])).encode()
fuzzing = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def load_or_refuse(content: bytes):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            box = load(file.name)
        except ModelFileError as error:
            assert len(str(error)) < 2000
        else:
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(box))


@fuzzing
@given(st.sampled_from([OURS, THEIRS]), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8))
def test_changed_bytes(content, changes):
    content = bytearray(content)
    for at, byte in changes:
        content[at % len(content)] = byte
    load_or_refuse(bytes(content))


@fuzzing
@given(st.sampled_from([OURS, THEIRS, gzip.compress(THEIRS)]), st.integers(0, 10**6), st.binary(max_size=20))
def test_cut_and_lengthened_bytes(content, at, tail):
    load_or_refuse(content[: at % len(content)] + tail)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@fuzzing
@given(st.sampled_from(["model_data", "state_dict", "knobs"]), st.integers(0, 20), JUNK, st.sampled_from([0, 1, 2]))
def test_values_of_the_wrong_kind_in_guitarml(holder, at, junk, how):
    content = json.loads(THEIRS)
    if how == 0 or holder == "knobs":
        content[holder] = junk
    else:
        keys = sorted(content[holder])
        key = keys[at % len(keys)]
        inner = content[holder][key]
        if how == 1 or not isinstance(inner, list):
            content[holder][key] = junk
        else:
            inner[at % len(inner)] = junk
    load_or_refuse(json.dumps(content).encode())


@fuzzing
@given(st.sampled_from(["format", "kind", "settings", "knobs", "sample_rate", "hidden", "layers", "inputs", "x"]), JUNK)
def test_values_of_the_wrong_kind_in_our_spec(key, junk):
    tensors = safetensors.numpy.load(OURS)
    size = struct.unpack("<Q", OURS[:8])[0]
    spec = json.loads(json.loads(OURS[8 : 8 + size])["__metadata__"]["nafx"])
    (spec["settings"] if key in spec["settings"] else spec)[key] = junk
    load_or_refuse(safetensors.numpy.save(tensors, {"nafx": json.dumps(spec)}))
