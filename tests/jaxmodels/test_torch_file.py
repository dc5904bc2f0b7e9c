"""PyTorch's files: what the network is, both kinds of files, PyTorch itself where there is one, and hostile pickles."""

from __future__ import annotations

import dataclasses
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import soundfile

from jaxmodels import ModelFileError, apply, inspect, load
from jaxmodels.formats import pickles
from jaxmodels.layers import Layers
from jaxmodels.recurrent import GRU, LSTM, Settings
from jaxmodels.tcn import MicroTCN, SteerableTCN
from tests.jaxmodels import pickled
from tests.jaxmodels.streaming import streamed
from tests.jaxmodels.test_layers import BLOCKS
from tests.jaxmodels.test_recurrent import reference, torch_tensors
from tests.variants import slow_except

KINDS = {"zip": pickled.zipped, "older": pickled.legacy}


@pytest.fixture
def write(tmp_path):
    def one(content: bytes, name: str = "net.pt"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return one


def named(tensors, cell="rec", linear="lin"):
    """Random tensors under a trainer's names."""
    heads = {"head": f"{linear}.weight", "head_bias": f"{linear}.bias"}
    return {heads.get(key, f"{cell}.{key}"): value for key, value in tensors.items()}


def same(one, other):
    import jax

    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- what others made ---


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], BLOCKS]))
def test_coreaudiomls_flanger_with_the_lfo_as_a_knob(fixtures, lengths):
    """The file is of 2020, the network's second input the LFO that was recorded beside the guitar."""
    folder = fixtures / "vectors/pairs"
    box = load(folder / "coreaudioml_modelBest.pt")
    assert type(box) is LSTM and box.settings == Settings(2, 32) and box.sample_rate == 44100
    assert [knob.name for knob in box.knobs] == ["PARAM1"]
    x, _ = soundfile.read(folder / "coreaudioml_KDonnerFlangerra12c12rg9Singles1-input.wav", dtype="float32")
    want, _ = soundfile.read(folder / "coreaudioml_testoutput.wav", dtype="int16")
    guitar, lfo = x[:, 0], x[:, 1:]
    cut = (streamed(box, guitar[:44100], length, lfo[:44100]) for length in lengths)
    for got in (np.asarray(apply(box, guitar, lfo)), *cut):
        steps = np.floor(got * 32768)[:440999] - want[: min(len(got), 440999)]  # the last recorded sample is no output
        assert np.abs(steps).max() <= 1 and (steps != 0).mean() < 0.02


@pytest.mark.parametrize("lengths", slow_except([[17]], [[17], [1, 64]]))
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_rtneurals_state_dicts(fixtures, name, lengths):
    """Two modules of 1 and 3 layers, played as one network of 4."""
    path = fixtures / f"models/rtneural_torch/{name}_torch.json"
    box = load(path)
    assert type(box) is {"lstm": LSTM, "gru": GRU}[name] and box.settings == Settings(1, 8, 4, True, False)
    x, want = (np.loadtxt(fixtures / f"vectors/rtneural/{name}_torch_{n}_python.csv") for n in "xy")
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=1e-6)
    for length in lengths:
        got = streamed(box, x, length)
        np.testing.assert_allclose(got, want[: len(got)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name, hidden", [("ts9_lstm_32", 32), ("distorsion_lstm_96", 96)])
def test_state_dicts_of_the_wild(fixtures, name, hidden):
    path = fixtures / f"models/stmae/{name}_1_min_input.json"
    box, stored = load(path), json.loads(path.read_text())
    assert type(box) is LSTM and box.settings == Settings(1, hidden, skip=False) and box.sample_rate == 44100
    tensors = {key.removeprefix("lstm."): value for key, value in stored.items() if key.startswith("lstm.")}
    x = np.random.default_rng(0).uniform(-0.3, 0.3, 200)
    want = reference(tensors | {"head": stored["dense.weight"], "head_bias": stored["dense.bias"]}, x[:, None], False)
    np.testing.assert_allclose(apply(box, x), want, rtol=0, atol=1e-5)
    assert inspect(path)[1].architecture == f"LSTM 1x{hidden}"


def test_pieces_of_networks_are_refused(fixtures):
    for path in sorted((fixtures / "models/rtneural_torch").iterdir()):
        if path.name not in ("lstm_torch.json", "gru_torch.json"):
            for reader in (load, inspect):
                with pytest.raises(
                    ModelFileError, match=f"{path.name}: tensors 'weight'.* are no network that is known"
                ):
                    reader(path)


# --- files as PyTorch writes them ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gates, inputs, layers, bias", [(4, 1, 1, True), (3, 3, 2, False)])
def test_recurrent_networks(write, kind, gates, inputs, layers, bias):
    tensors = torch_tensors(gates, 5, inputs, layers, bias)
    for names, skip in ((("rec", "lin"), True), (("layers.0.rec", "layers.0.lin"), True), (("lstm", "dense"), False)):
        arrays = named(tensors, *names)
        path = write(KINDS[kind](pickled.state_dict(arrays), arrays))
        box = load(path, sample_rate=96000)
        assert box.settings == Settings(inputs, 5, layers, bias, skip) and box.sample_rate == 96000
        x = np.random.default_rng(1).uniform(-1, 1, (40, inputs)).astype(np.float32)
        want = reference(tensors, x, skip)
        np.testing.assert_allclose(apply(box, x[:, :1], x[:, 1:])[:, 0], want, rtol=0, atol=3e-6)
        facts = inspect(path)[1]
        assert facts.architecture == f"{ {4: 'LSTM', 3: 'GRU'}[gates] } {layers}x5".replace("  ", " ").strip()
        assert len(facts.knobs) == inputs - 1 and ("not added" in facts.notes[-1]) != skip


def test_layers_of_different_sizes(write):
    first = {f"a.{k}": v for k, v in torch_tensors(4, 5).items() if k.startswith(("weight", "bias"))}
    second = {f"b.{k}": v for k, v in torch_tensors(3, 4, 5).items() if k.startswith(("weight", "bias"))}
    arrays = first | second | {"fc.weight": np.ones((1, 4), np.float32)}
    box = load(write(pickled.zipped(pickled.state_dict(arrays), arrays)))
    assert type(box) is Layers and box.settings.layers == ("lstm 5", "gru 4", "dense 1")


@pytest.fixture(scope="module")
def compressor(fixtures):
    stored = np.load(fixtures / "vectors/golden/steerable_compressor_weights.npz")
    return {key: stored[key] for key in stored if not key.startswith("meta")}


@pytest.fixture(scope="module")
def micro(fixtures):
    stored = np.load(fixtures / "vectors/golden/microtcn100c_io.npz")
    return {key: stored[key] for key in stored if "." in key}


def whole_module(arrays, dilations):
    """A pickled module as the steerable-nafx notebook saves it: parameters inside modules in modules."""
    keys = {key: n for n, key in enumerate(arrays)}

    def dictionary(items):
        return ORDERED + b"(" + b"".join(pickled.text(key) + value for key, value in items.items()) + b"u"

    def one(prefix):
        here = {key[len(prefix) :]: key for key in arrays if key.startswith(prefix)}
        inner = {key.split(".")[0] for key in here if "." in key}
        own = {key: pickled.tensor(arrays[full], str(keys[full])) for key, full in here.items() if "." not in key}
        wrapped = {k: pickled.name("torch._utils", "_rebuild_parameter") + b"(" + v + b"\x88" + ORDERED + b"tR"
                   for k, v in own.items()}  # fmt: skip
        modules = {key: one(f"{prefix}{key}.") for key in sorted(inner)}
        state = {"training": b"\x89", "_parameters": dictionary(wrapped), "_modules": dictionary(modules)}
        if prefix[:-1] in dilations:
            state["dilation"] = pickled.integers([dilations[prefix[:-1]]])
        held = b"}(" + b"".join(pickled.text(key) + value for key, value in state.items()) + b"u"
        return pickled.module("__main__.TCN" if not prefix else "torch.nn.modules.conv.Conv1d", held)

    ORDERED = pickled.ORDERED_DICT
    return one("")


@pytest.mark.parametrize("lengths", slow_except([[]], [[], [64, 2048]]))
@pytest.mark.parametrize("kind", KINDS)
def test_steerable_tcns(fixtures, write, compressor, kind, lengths):
    io = np.load(fixtures / "vectors/golden/steerable_io.npz")
    box = load(write(KINDS[kind](pickled.state_dict(compressor), compressor)))
    assert same(box, SteerableTCN.from_weights(compressor)) and box.sample_rate == 44100
    knobs = np.array([knob.position(value) for knob, value in zip(box.knobs, (-1.4, 3.0), strict=True)])
    want = io["compressor_c-1.4_3.0"]
    np.testing.assert_allclose(apply(box, io["x"][:12000], knobs), want[:12000], rtol=0, atol=1e-4 * np.abs(want).max())
    for length in lengths:
        got = streamed(box, io["x"][:8192], length, knobs)
        np.testing.assert_allclose(got, want[:8192], rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_module_tells_its_dilations(write, compressor, kind):
    dilations = {f"blocks.{n}.conv": 7**n for n in range(4)}
    path = write(KINDS[kind](whole_module(compressor, dilations), compressor))
    assert same(load(path), SteerableTCN.from_weights(compressor, dilation_growth=7))
    assert load(path).settings.dilation_growth == 7 and inspect(path)[1].architecture == "SteerableTCN 32x4 k9 d7"
    dilations["blocks.3.conv"] = 5
    with pytest.raises(ModelFileError, match="dilations of '1, 7, 49, 5' are no powers"):
        load(write(pickled.zipped(whole_module(compressor, dilations), compressor)))


def checkpoint(arrays, said):
    """A trainer's checkpoint: state_dict, hyper_parameters, and things that nobody needs."""
    values = {True: b"\x88", False: b"\x89"}
    hyper = b"".join(pickled.text(k) + (values[v] if type(v) is bool else pickled.number(v)) for k, v in said.items())
    kept = pickled.name("pytorch_lightning.utilities.parsing", "AttributeDict") + b")\x81(" + hyper + b"u"
    callbacks = b"}" + pickled.name("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") + b"}s"
    parts = {"epoch": pickled.number(59), "callbacks": callbacks, "state_dict": pickled.state_dict(arrays)}
    parts["hyper_parameters"] = kept
    return b"}(" + b"".join(pickled.text(key) + value for key, value in parts.items()) + b"u"


@pytest.mark.parametrize("lengths", slow_except([[]], [[], [17, 2048]]))
@pytest.mark.parametrize("kind", KINDS)
def test_micro_tcns(fixtures, write, micro, kind, lengths):
    io = np.load(fixtures / "vectors/golden/microtcn100c_io.npz")
    said = {"nparams": 2, "nblocks": 4, "dilation_growth": 10, "causal": True, "sample_rate": 44100}
    path = write(KINDS[kind](checkpoint(micro, said), micro), "tcn.ckpt")
    box = load(path)
    assert same(box, MicroTCN.from_weights(micro)) and box.sample_rate == 44100
    got = np.asarray(apply(box, io["x"], io["p"]))[box.receptive_field - 1 :]
    np.testing.assert_allclose(got, io["y"], rtol=0, atol=1e-5)
    assert inspect(path)[1].architecture == "MicroTCN 32x4 k5 d10" and inspect(path)[1].sample_rate == 44100
    for length in lengths:
        got = streamed(box, io["x"], length, io["p"])[box.receptive_field - 1 :]
        np.testing.assert_allclose(got, io["y"][: len(got)], rtol=0, atol=1e-5)


def test_what_a_checkpoint_says_is_heard(write, micro):
    def made(**said):
        return write(pickled.zipped(checkpoint(micro, said), micro))

    assert load(made(causal=False)).latency > 0 and load(made(dilation_growth=4)).settings.dilation_growth == 4
    for said, message in (
        ({"skip_connections": True}, "skip_connections = True, a variant that is not read"),
        ({"grouped": True}, "grouped = True"),
        ({"stack_size": 2}, "stacks of 2 in 4 blocks"),
    ):
        with pytest.raises(ModelFileError, match=message):
            load(made(**said))
    micro = {f"model.{key}": value for key, value in micro.items()}
    assert type(load(made())) is MicroTCN
    micro["model.blocks.4.bn.weight"] = np.ones(3, np.float32)
    with pytest.raises(ModelFileError, match="'blocks.4.bn.weight' belongs to no MicroTCN"):
        load(made())


@pytest.mark.parametrize("older", [False, True])
def test_pytorch_itself(tmp_path, older):
    """State dicts in every precision, a checkpoint, and a whole module, as the real thing writes them."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rec, self.lin = torch.nn.LSTM(2, 6), torch.nn.Linear(6, 1)

    def saved(what):
        torch.save(what, tmp_path / "net.pt", _use_new_zipfile_serialization=not older)
        return load(tmp_path / "net.pt")

    net = Net()
    plain = {key: value.detach().numpy().astype(np.float32) for key, value in net.state_dict().items()}
    box = saved(net.state_dict())
    assert type(box) is LSTM and box.settings == Settings(2, 6)
    np.testing.assert_array_equal(box.layers[0]["weight_hh"], plain["rec.weight_hh_l0"].T)
    Net.__module__, Net.__qualname__ = "torch.nn.modules.net", "Net"
    assert same(
        box, saved({"state_dict": net.state_dict(), "optimizer": torch.optim.Adam(net.parameters()).state_dict()})
    )
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        rounded = {key: value.to(dtype) for key, value in net.state_dict().items()}
        got, want = saved(rounded), saved({key: value.float() for key, value in rounded.items()})
        assert same(got, want)
    shared = {key: value.T.contiguous().T if value.ndim == 2 else value for key, value in net.state_dict().items()}
    assert same(box, saved(shared))


# --- what is no model, or wants to be more than one ---

SMALL = named(torch_tensors(4, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", pickled.attacks(""))
def test_nothing_that_a_pickle_names_is_run(write, tmp_path, kind, attack):
    canary = tmp_path / "canary"
    program = pickled.attacks(str(canary))[attack]
    for whole in (
        program,
        b"}(" + pickled.text("state_dict") + pickled.state_dict(SMALL) + pickled.text("x") + program + b"u",
    ):
        path = write(KINDS[kind](whole, SMALL))
        try:
            load(path)
        except ModelFileError as error:
            assert "this is a PyTorch or Neutone file" in str(error)
        else:
            assert attack in ("reduce of a name", "by attribute")  # a record of a class of torch.nn, which runs nothing
    assert not canary.exists()


def test_a_name_that_is_refused_is_told(write):
    attack = pickled.attacks("/x")["os.system"]
    with pytest.raises(ModelFileError, match="net.pt: .* it calls 'os.system', which no model needs; nothing was run"):
        load(write(pickled.zipped(attack, {})))


def huge(count=4, shape=(2**13, 2**13), strides=(0, 0)):
    """Tensors that view one number as millions."""
    kind = pickled.name("torch", "FloatStorage")
    storage = (
        b"(" + pickled.text("storage") + kind + pickled.text("0") + pickled.text("cpu") + pickled.number(1) + b"tQ"
    )
    arguments = (
        storage
        + pickled.number(0)
        + pickled.integers(shape)
        + pickled.integers(strides)
        + b"\x89"
        + pickled.ORDERED_DICT
    )
    one = pickled.name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"
    return b"}(" + b"".join(pickled.text(f"a{n}.weight") + one for n in range(count)) + b"u"


ONE = {"a": np.zeros(1, np.float32)}
BOMBS = {
    "tensor of 64 M": (huge(1), "axes and 67108864 numbers, which is too large"),
    "tensors of 64 M": (huge(64, (2**12, 2**8)), "tensors of more than 16777216 numbers"),
    "beyond its storage": (huge(1, (2, 2), (1, 1)), "a tensor reaches beyond its storage"),
    "negative sizes": (huge(1, (-1, 2)), "a tensor of impossible sizes"),
    "memo far away": (b"Nr\xff\xff\xff\x7f", "it holds no tensors by name"),
    "opcodes": (b"N0" * 60_000 + b"N", "more than 100000 opcodes"),
    "deep tuples": (b")" + b"\x85" * 90_000, "it holds no tensors by name"),
    "deep tuple as a key": (b"}" + b")" + b"\x85" * 90_000 + b"Ns", "a dictionary with a key of type tuple"),
    "deep lists": (b"]" + b"]" * 40_000 + b"a" * 40_000, "it holds no tensors by name"),
    "a list in itself": (b"]q\0h\0a", "it holds no tensors by name"),
    "module in itself": (pickled.name("torch.nn", "M") + b")\x81q\0}" + pickled.text("_modules") + b"}"
                         + pickled.text("a") + b"h\0ssb", "modules in modules without end"),
    "copies of copies": (b"(" + b"]" * 30_000 + b"lq\0" + (pickled.name("torch", "Size") + b"(h\0tR0") * 900 + b"N",
                         "it copies more than a model is large"),
    "huge number": (b"\x8b" + struct.pack("<i", 50_000) + b"\x01" * 50_000, "a whole number of more than 1024 bits"),
    "text beyond the end": (b"\x8d" + struct.pack("<Q", 2**60), "broken pickle"),
    "no stop": (b"(" * 100, "broken pickle"),
    "marks": (b"t", "a mark is missing"),
    "nothing": (b"", "its stack is empty"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_stay_small(write, bomb):
    program, message = BOMBS[bomb]
    path = write(pickled.zipped(program, ONE))
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=message):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_zips_that_unpack_without_end(write, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxmodels.formats.torch_file.MOST_UNPACKED", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(2**24))
    with pytest.raises(ModelFileError, match="it unpacks to more than 1 MiB"):
        load(tmp_path / "bomb.pt")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"PK\3\4 model.json data.pkl", "a broken one"),
        (pickled.zipped(b"N", {}, **{"code/__torch__.py": b"x"}), "Neutone models and other TorchScript files are"),
        (pickled.zipped(b"N", {}, **{"constants.pkl": b"x"}), "Neutone models and other TorchScript"),
        (pickled.zipped(b"N", {}).replace(b"data.pkl", b"date.pkl"), "with 0 data.pkl among them"),
        (pickled.zipped(pickled.state_dict(SMALL), dict(list(SMALL.items())[:-1])), "a broken one"),
        (pickled.zipped(pickled.state_dict(SMALL), {k: v[:-1] for k, v in SMALL.items()}), "a storage is cut off"),
        (pickled.legacy(pickled.state_dict(SMALL), SMALL)[:-5], "a storage is cut off"),
        (pickled.legacy(b"N", SMALL), "its storages are not those that it lists"),
        (b"\x80\2N.", "a pickle that PyTorch did not write"),
        (b"\x80\2}q\0.", "a pickle that PyTorch did not write"),
        (pickled.zipped(b"}", {}), "without any tensors"),
        (pickled.zipped(pickled.name("torch", "float32"), {}), "it holds no tensors by name"),
        (pickled.zipped(pickled.name("torch", "FloatStorage") + b")R", {}), "which makes no tensor"),
    ],
)  # fmt: skip
def test_broken_files_are_named(write, content, message):
    for reader in (load, inspect):
        with pytest.raises(ModelFileError, match=message) as error:
            reader(write(content))
        assert str(error.value).startswith("net.pt: ") and len(str(error.value)) < 500


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rec.weight_hh_l0": np.ones((9, 9), np.float32)}, "an LSTM has 4 gates, a GRU 3"),
        ({"rec.weight_ih_l0": np.ones((8, 1), np.float32)}, "an LSTM has 4 gates, a GRU 3"),
        ({"rec.bias_hh_l0": np.ones(3, np.float32)}, r"has biases of shapes \[12\] and \[3\]"),
        ({"rec.bias_hh_l0": None}, "has only 'weight_ih', 'weight_hh', 'bias_ih'"),
        ({"rec.weight_hh_l1": np.ones((12, 3), np.float32)}, "has only 'weight_hh'"),
        ({"lin.weight": np.ones((2, 3), np.float32)}, r"'lin.weight' has shape \[2, 3\], must be \[1, 3\]"),
        ({"lin.bias": np.ones(2, np.float32)}, r"'lin.bias' has shape \[2\], must be \[1\]"),
        ({"lin2.weight": np.ones((1, 1), np.float32)}, "beside the recurrent layers are no linear output layer"),
        ({"lin.weight": None}, "tensors 'lin.bias' beside the recurrent layers"),
        ({"lin.weight": np.full((1, 3), np.inf, np.float32)}, "'lin.weight' holds a number that is not finite"),
        ({f"rec.bias_{part}_l0": np.full(12, 3e38, np.float32) for part in ("ih", "hh")}, "biases too large"),
    ],
)  # fmt: skip
def test_tensors_that_are_no_network_are_named(write, change, message):
    arrays = {key: value for key, value in (SMALL | change).items() if value is not None}
    with pytest.raises(ModelFileError, match=message):
        load(write(pickled.zipped(pickled.state_dict(arrays), arrays)))


def test_the_machine_makes_what_pickle_makes():
    """Plain values of every protocol come out as they went in."""
    import pickle

    value = {
        "a": [1, -2.5, None, True, (1, 2, 3), "ü" * 300, b"x" * 300, 2**70, {}],
        "b": ((), (1,), [[]]),
        "c": {1: {2: 3}},
    }
    for protocol in range(6):
        assert pickles.read(pickle.dumps(value, protocol), 0, {}, lambda what: what)[0] == value


def test_records_keep_what_they_are_given():
    made, _ = pickles.read(
        b"\x80\2" + pickled.module("torch.nn.modules.conv.Conv1d", b"}" + pickled.text("a") + b"K\1s") + b".",
        0,
        {},
        print,
    )
    assert (made.kind, made.state) == ("torch.nn.modules.conv.Conv1d", {"a": 1}) and dataclasses.is_dataclass(made)
