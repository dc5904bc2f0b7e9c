"""Binary NAM captures and the 0.4 folder: packed here by the formats' own words, they must play as the `.nam` does."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest

from jaxmodels.effect import apply
from jaxmodels.files import ModelFileError, inspect, load
from jaxmodels.formats import LARGEST_JSON
from jaxmodels.recurrent import LSTM
from tests.jaxmodels.test_convnet import config as convnet_config
from tests.jaxmodels.test_convnet import weights_for
from tests.jaxmodels.test_nam import NOISE, linear, lstm, played

TYPES = "Tanh Hardtanh Fasttanh ReLU LeakyReLU PReLU Sigmoid SiLU Hardswish LeakyHardtanh Softsign".split()
FILMS = ["conv_pre", "conv_post", "input_mixin_pre", "input_mixin_post", "activation_pre", "activation_post"]
FILMS = [f"{name}_film" for name in (*FILMS, "layer1x1_post", "head1x1_post")]
KINDS = ["Linear", "ConvNet", "LSTM", "WaveNet"]


def activation(value):
    value = {"type": value} if isinstance(value, str) else value
    numbers = [value[key] for key in value if key != "type"]
    numbers = numbers[0] if numbers and isinstance(numbers[0], list) else numbers
    return struct.pack(f"<BB{len(numbers)}f", TYPES.index(value["type"]), len(numbers), *numbers)


def each(value, count):
    return value if isinstance(value, list) else [value] * count


def layer_array(array):
    dilations, channels = array["dilations"], array["channels"]
    n, head = len(dilations), array.get("head", {})
    size, bias = head.get("out_channels", array.get("head_size")), head.get("bias", array.get("head_bias"))
    numbers = [array["input_size"], array["condition_size"], size, channels, array.get("bottleneck", channels)]
    parts = [struct.pack("<6H", *numbers, head.get("kernel_size", 0)), struct.pack("<BB", bias, n)]
    parts.append(struct.pack("<HH", array.get("groups_input", 1), array.get("groups_input_mixin", 1)))
    first, second = array.get("layer1x1", {"active": True}), array.get("head1x1", {"active": False})
    parts.append(struct.pack("<BHx", first["active"], first.get("groups", 1)))
    parts.append(struct.pack("<BHHx", second["active"], second.get("out_channels", channels), second.get("groups", 1)))
    for name in FILMS:
        film = array.get(name) or {"active": False}
        active = film.get("active", True)
        parts.append(struct.pack("<BxH", active + 2 * film.get("shift", True) * active, film.get("groups", 1)))
    parts.append(struct.pack(f"<{n}i", *dilations))
    parts.append(struct.pack(f"<{n}H", *each(array.get("kernel_sizes", array.get("kernel_size")), n)))
    parts += map(activation, each(array["activation"], n))
    modes = each(array.get("gating_mode", "gated" if array.get("gated") else "none"), n)
    parts.append(bytes(["none", "gated", "blended"].index(mode) for mode in modes))
    seconds = each(array.get("secondary_activation") or "Sigmoid", n)
    return b"".join([*parts, *(activation(second or "Tanh") for second in seconds)])


def block(document):
    """The model block, and the flat weights of the model, those of its condition first."""
    kind, config = document["architecture"], document["config"]
    weights, channels = document["weights"], (config.get("in_channels", 1), config.get("out_channels", 1))
    if kind == "Linear":
        body = struct.pack("<iBBBx", config["receptive_field"], config["bias"], *channels)
    elif kind == "LSTM":
        body = struct.pack("<HHHBBxx", config["num_layers"], config["input_size"], config["hidden_size"], *channels)
    elif kind == "ConvNet":
        dilations = config["dilations"]
        body = struct.pack("<HBBHBB", config["channels"], config["batchnorm"], len(dilations), 1, *channels)
        body += activation(config["activation"]) + struct.pack(f"<{len(dilations)}i", *dilations)
    else:
        condition = config.get("condition_dsp")
        head = bool(config.get("head"))
        body = struct.pack("<BBBB", channels[0], head, len(config["layers"]), condition is not None)
        if condition:
            inner, flat = block(condition)
            body += struct.pack("<I", len(flat)) + metadata(condition) + inner
            weights = [*flat, *weights]
        body += b"".join(map(layer_array, config["layers"]))
    return struct.pack("<BBH", KINDS.index(kind), 0, len(body)) + body, weights


def metadata(document):
    said = document.get("metadata") or {}
    levels = [said.get(key) for key in ("loudness", "input_level_dbu", "output_level_dbu")]
    flags = sum(1 << i for i, level in enumerate(levels) if level is not None)
    version = map(int, document["version"].split("."))
    rate = document.get("sample_rate", -1.0)
    return struct.pack("<4B4d12x", *version, flags, rate, *(level or 0.0 for level in levels))


def sealed(data):
    """With the right checksum: of everything but its own four bytes."""
    checksum = zlib.crc32(data[:24] + data[28:])
    return data[:24] + struct.pack("<I", checksum) + data[28:]


def packed(document, **header):
    described, weights = block(document)
    start = 80 + len(described)
    fields = {
        "version": 1,
        "size": start + 4 * len(weights),
        "at": start,
        "count": len(weights),
        "block": len(described),
    }
    fields |= header
    numbers = (fields[key] for key in ("size", "at", "count", "block"))
    head = struct.pack("<4sHH6I", b"BMAN", fields["version"], 0, *numbers, 0, 0)
    return sealed(head + metadata(document) + described + np.array(weights, "<f4").tobytes())


@pytest.fixture
def written(tmp_path):
    def write(data, name="capture.namb"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return path

    return write


CONVNET = convnet_config(activation={"type": "LeakyReLU", "negative_slope": 0.25})
MADE = {
    "lstm": lstm(sample_rate=44100),
    "linear": linear(1.0, 0.5, -0.25),
    "convnet": {"version": "0.5.4", "architecture": "ConvNet", "config": CONVNET, "weights": weights_for(CONVNET)},
}


@pytest.mark.parametrize("name", MADE)
def test_a_binary_capture_plays_as_its_json(written, name):
    binary, text = load(written(packed(MADE[name]))), load(written(MADE[name], "capture.nam"))
    assert (type(binary), binary.settings, binary.sample_rate) == (type(text), text.settings, text.sample_rate)
    assert (apply(binary, NOISE) == apply(text, NOISE)).all()


CAPTURES = [
    "models/nam/core_wavenet.nam",
    "models/nam/core_wavenet_condition_dsp.nam",
    "vectors/nam_core/models/BossWN-nano.nam",
    "vectors/nam_core/models/a2_dynamic_gated_ch8.nam",
    "vectors/nam_core/models/wavenet_a2_film_full.nam",
]


@pytest.mark.parametrize("path", CAPTURES)
def test_real_wavenets_in_binary_are_the_same_networks(fixtures, written, path):
    document = json.loads((fixtures / path).read_text())
    binary, text = load(written(packed(document))), load(fixtures / path)
    assert binary.settings == text.settings
    assert (binary.weights[...] == text.weights[...]).all() and binary.head_scale[...] == text.head_scale[...]
    if text.condition is not None:
        assert (binary.condition.weights[...] == text.condition.weights[...]).all()


def test_facts_of_a_binary_capture(written):
    document = lstm(sample_rate=44100, metadata={"loudness": -20.5, "output_level_dbu": 12.25})
    name, facts = inspect(written(packed(document)))
    assert name == "a binary NAM capture (.namb)" and facts.architecture == "LSTM 2x4"
    assert (facts.sample_rate, facts.parameters) == (44100, len(document["weights"]))
    assert (facts.loudness_db, facts.input_level_dbu, facts.output_level_dbu) == (-20.5, None, 12.25)


def flipped(at):
    data = bytearray(packed(MADE["lstm"]))
    data[at] ^= 0x10
    return bytes(data)


GOOD = packed(MADE["lstm"])
RS = struct.pack("<4sHH", b"BMAN", 2, 0) + bytes(72) + b'{"architecture": "LSTM"}' + bytes(64)  # as another tool's
ODD_HEAD = {"version": "0.6.0", "architecture": "WaveNet", "config": {"layers": [], "head": {"a": 1}}, "weights": []}
FAULTS = {
    "cut short": (GOOD[:60], "this is a .namb file of 60 bytes, too short for its header"),
    "no end": (GOOD[:-4], "its checksum is wrong"),
    "more at the end": (GOOD + b"\0", "its checksum is wrong"),
    "a bit of a weight": (
        flipped(-3),
        "its checksum is wrong: it is damaged, or in the dialect of Neural",
    ),
    "a bit of the checksum": (flipped(25), "its checksum is wrong"),
    "a bit of the reserved word": (flipped(29), "its checksum is wrong"),
    "the other dialect": (RS, "in the dialect of NeuralAmpModeler-rs, which is not read"),
    "the other dialect, sealed": (sealed(RS), "in the dialect of NeuralAmpModeler-rs, which is not read"),
    "weights before the block": (packed(MADE["lstm"], at=32), "its 261 weights at byte 32 do not fit"),
    "weights past the end": (packed(MADE["lstm"], at=2**32 - 1), "do not fit in the file"),
    "too many weights": (packed(MADE["lstm"], count=2**32 - 1), "its 4294967295 weights at byte"),
    "fewer weights": (packed(MADE["lstm"], count=260), "LSTM of 260 weights, but its config wants 261"),
    "newer": (packed(MADE["lstm"] | {"version": "0.8.0"}), "format 0.8.0 is newer than 0.7.x"),
    "a head": (packed(ODD_HEAD), "a head after the layers, whose shape this format does not hold"),
    "not finite": (packed(linear(float("nan"))), "weights must be one list of finite numbers"),
    "no rate": (packed(lstm(sample_rate=float("inf"))), "sample_rate = inf, must be"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(written, fault):
    data, message = FAULTS[fault]
    for reader in (load, inspect) if fault != "not finite" else (load,):
        with pytest.raises(ModelFileError, match=message) as error:
            reader(written(data))
        assert str(error.value).startswith("capture.namb: ")


@pytest.mark.parametrize("name", MADE)
def test_no_byte_of_the_description_crashes_the_reader(written, name):
    """Every byte of the block and the metadata, set to each of three values, under a right checksum."""
    good = packed(MADE[name])
    described, _ = block(MADE[name])
    for at in range(32, 80 + len(described)):
        for value in (0, 255, good[at] ^ 1):
            data = bytearray(good)
            data[at] = value
            try:
                inspect(written(sealed(bytes(data))))
            except ModelFileError as error:
                assert str(error).startswith("capture.namb: ")


# --- the folder of NAM 0.4, and a zip of it ---


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def legacy(tmp_path, config=None, weights=None):
    document = lstm()
    if config is None:
        config = {"version": "0.4.0", "architecture": "LSTM", "config": document["config"]}
    folder = tmp_path / "amp"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    weights = npy(np.array(document["weights"], np.float32)) if weights is None else weights
    (folder / "weights.npy").write_bytes(weights)
    return folder


def zipped(folder, inside="", compression=zipfile.ZIP_DEFLATED):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in folder.iterdir():
            archive.write(file, inside + file.name)
    return path


@pytest.mark.parametrize("inside", [None, "", "some folder/amp/"])
def test_folders_and_zips_of_nam_0_4_play(tmp_path, inside):
    folder = legacy(tmp_path)
    path = folder if inside is None else zipped(folder, inside)
    np.testing.assert_allclose(apply(load(path), NOISE), played(lstm(), NOISE[:, None], 64), rtol=0, atol=2e-6)
    name, facts = inspect(path)
    assert "NAM 0.4" in name and facts.architecture == "LSTM 2x4" and facts.sample_rate == 48000


def test_the_vibrato_of_a_deluxe_reverb(fixtures):
    path = fixtures / "models/nam_legacy_dir/deluxe_reverb_vibrato"
    network = load(path)
    assert type(network) is LSTM and (network.settings.layers, network.settings.hidden) == (3, 24)
    weights = np.load(path / "weights.npy").tolist()
    document = {"config": json.loads((path / "config.json").read_text())["config"], "weights": weights}
    np.testing.assert_allclose(apply(network, NOISE), played(document, NOISE[:, None], 64), rtol=0, atol=1e-5)


HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
HUGE = b"\x93NUMPY\x01\x00v\x00" + HUGE


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"weights": b"no array"}, "weights.npy is no numpy file"),
        ({"weights": HUGE + bytes(8)}, "weights.npy is said to be float32 a list of 1 in 8 bytes"),
        ({"weights": npy(np.zeros((2, 3)))}, "must be floats in a row"),
        ({"weights": npy(np.zeros(3, int))}, "weights.npy is said to be int64"),
        ({"weights": npy(np.array([{}, []], object))}, "weights.npy is said to be object"),
        ({"weights": npy(np.full(261, np.nan))}, "must be one list of finite numbers"),
        ({"weights": npy(np.zeros(7))}, "LSTM of 7 weights, but its config wants 261"),
        ({"config": b"[]"}, "config.json is a list of 0, must be an object"),
        ({"config": b"{"}, "config.json: broken JSON"),
        ({"config": {"version": "0.3.0", "architecture": "LSTM", "config": {}}}, "format 0.3.0 is older than 0.4.0"),
        ({"config": {"version": "0.4.0"}}, "architecture is missing"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(tmp_path, changes, message):
    folder = legacy(tmp_path, **changes)
    for path in (folder, zipped(folder)):
        with pytest.raises(ModelFileError, match=message) as error:
            load(path)
        assert str(error.value).startswith(f"{path.name}: ")


def test_zips_that_lie_are_refused(tmp_path):
    folder = legacy(tmp_path, config=b"{" + b" " * (LARGEST_JSON + 10))  # 64 MiB of spaces in 64 KiB
    with pytest.raises(ModelFileError, match="amp.zip: config.json is larger than 64 MiB"):
        load(zipped(folder))
    path = zipped(legacy(tmp_path))
    data = path.read_bytes()
    for at in range(0, len(data), 37):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            load(path)
        except ModelFileError:
            pass
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/config.json", "a/weights.npy", "b/config.json"):
            archive.writestr(name, b"{}")
    with pytest.raises(ModelFileError, match="a NAM 0.4 zip with 2 files config.json, must be one"):
        load(path)
