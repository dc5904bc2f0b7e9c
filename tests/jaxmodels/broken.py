"""Broken model files without end: real ones and made ones changed at random, bombs, attacks, made-up documents.

`case(seed, n, files)` is always the same file; `DOCUMENTS` is a strategy for hypothesis.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np

from jaxmodels import save
from jaxmodels.recurrent import GRU, Settings
from tests.conftest import FIXTURES
from tests.jaxmodels import pickled
from tests.jaxmodels.test_guitarml import document as guitarml
from tests.jaxmodels.test_guitarml_wavenet import document as wavenet
from tests.jaxmodels.test_keras import network as keras
from tests.jaxmodels.test_recurrent import torch_tensors

LARGEST_SEED = 200_000  # bytes of a real file

# --- seeds: files that are good, or nearly ---


def seeds(folder: Path) -> dict[str, bytes]:
    """Good files of every family, by name: made ones, and the real ones where there are any."""
    small, tcn = torch_tensors(4, 3), {f"rec.{key}": value for key, value in torch_tensors(3, 4).items()}
    rec = {{"head": "lin.weight", "head_bias": "lin.bias"}.get(k, f"rec.{k}"): v for k, v in small.items()}
    save(folder / "own", GRU(Settings(hidden=2), knobs=()))
    one = {"bias": False, "receptive_field": 3}
    made = {
        "own": (folder / "own").read_bytes(),
        "guitarml.json": json.dumps(guitarml(inputs=2, knobs=["drive"])).encode(),
        "keras.json": json.dumps(keras("lstm", 3, 2)).encode(),
        "gru.aidax": json.dumps(keras("gru", 3) | {"in_skip": 1, "in_gain": 2, "input_batch": [0.1] * 9}).encode(),
        "wavenet.json": json.dumps(wavenet()).encode(),
        "state.json": json.dumps({key: value.tolist() for key, value in rec.items()}).encode(),
        "zip.pt": pickled.zipped(pickled.state_dict(rec), rec),
        "old.pt": pickled.legacy(pickled.state_dict(rec), rec),
        "odd.pt": pickled.zipped(pickled.state_dict(tcn), tcn),
        "linear.nam": json.dumps(
            {"version": "0.5.4", "architecture": "Linear", "config": one, "weights": [1, 2, 3]}
        ).encode(),
    }
    if FIXTURES.is_dir():
        real = [*(FIXTURES / "models").rglob("*"), *(FIXTURES / "vectors").rglob("*.nam"), *FIXTURES.rglob("*.pt")]
        made |= {path.name: path.read_bytes() for path in sorted(real) if _takes(path)}
        old = FIXTURES / "models/nam_legacy_dir/deluxe_reverb_vibrato"
        if old.is_dir():
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for part in sorted(old.iterdir()):
                    archive.writestr(part.name, part.read_bytes())
            made["legacy_nam.zip"] = file.getvalue()
    return made


def _takes(path: Path) -> bool:
    good = path.is_file() and path.suffix in (".json", ".nam", ".aidax", ".namb", ".pt")
    return good and path.stat().st_size <= LARGEST_SEED


# --- cases: what is done to them ---

NUMBERS = [0, 1, -1, 2, 3, 7, 2**16, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e-40, 1e38, 1e39, 1e308, True, False]
TEXTS = ["", "x", "LSTM", "GRU", "gated", "\0", "ü" * 50, "nan", "1e5", "../../etc/passwd", "0.5.0", "9.9.9", "WaveNet"]
JUNK: list[Any] = [
    None,
    [],
    {},
    [[]],
    [{}],
    {"": 0},
    [[1.0] * 3] * 3,
    [1.0] * 100,
    [[[[[[[[[1]]]]]]]]],
    *NUMBERS,
    *TEXTS,
]


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, put in, taken out or said twice."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, how = rng.randrange(len(made) + 1), rng.randrange(5)
        if how == 0 and at < len(made):
            made[at] = rng.randrange(256)
        elif how == 1:
            made[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif how == 2:
            del made[at : at + rng.randrange(1, 64)]
        elif how == 3:
            made[at:at] = made[at : at + rng.randrange(1, 64)]
        elif at < len(made):
            made[at] ^= 1 << rng.randrange(8)
    return bytes(made)


def cut(rng: random.Random, data: bytes) -> bytes:
    """The file as a broken download leaves it."""
    return data[: rng.randrange(len(data) + 1)] + rng.randbytes(rng.choice((0, 0, 3)))


def places(node: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every key of every object and a few places of every list: (holder, key)."""
    keys = (
        list(node)
        if isinstance(node, dict)
        else range(0, len(node), max(1, len(node) // 4))
        if isinstance(node, list)
        else ()
    )
    for key in keys:
        yield node, key
        if depth < 6:
            yield from places(node[key], depth + 1)


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Values of a document replaced, taken out, copied from elsewhere or wrapped; NaN and Infinity among them."""
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(document))
        if not found:
            break
        holder, key = rng.choice(found)
        how = rng.randrange(6)
        if how == 0 and isinstance(holder, dict):
            del holder[key]
        elif how == 1:
            holder[key] = [holder[key]]
        elif how == 2:
            other, place = rng.choice(found)
            present = place in other if isinstance(other, dict) else place < len(other)
            holder[key] = copy.deepcopy(other[place]) if present else None
        elif how == 3 and isinstance(holder[key], int | float):
            holder[key] = rng.choice(
                (holder[key] + 1, holder[key] * 2, -holder[key], float("nan"), float("inf"), 10**9)
            )
        elif how == 4 and isinstance(holder[key], list):
            holder[key] = holder[key][: rng.randrange(len(holder[key]) + 1)] + holder[key][: rng.randrange(3)]
        else:
            holder[key] = copy.deepcopy(rng.choice(JUNK))
    return json.dumps(document).encode()


def packed(rng: random.Random, data: bytes) -> bytes:
    """Gzipped, the gzip perhaps broken; or a bomb."""
    if rng.random() < 0.02:
        return rng.choice(_bombs())
    small = gzip.compress(data, 1)
    return change_bytes(rng, small) if rng.random() < 0.5 else gzip.compress(change_bytes(rng, data), 1)


def attacked(rng: random.Random, data: bytes) -> bytes:
    """A PyTorch file whose pickle calls something, or is a heap of opcodes."""
    arrays = {"rec.weight_hh_l0": np.ones((4, 1), np.float32)}
    programs = pickled.attacks(os.environ.get("NAFX_CANARY", "/nonexistent/canary"))
    program = programs[rng.choice(sorted(programs))]
    how = rng.randrange(4)
    if how == 0:
        program = b"}(" + pickled.text("state_dict") + pickled.state_dict(arrays) + pickled.text("x") + program + b"u"
    elif how == 1:
        program = change_bytes(rng, pickled.state_dict(arrays))
    elif how == 2:
        opcodes = b"()]}0\x85\x86\x87NKRoabdeghijlmpqrstu.\x81\x88\x89\x90\x91\x93\x94Q2"
        program = bytes(rng.choice(opcodes) for _ in range(rng.randrange(300))) + program
    return rng.choice((pickled.zipped, pickled.legacy))(program, arrays)


def swollen(rng: random.Random, data: bytes) -> bytes:
    """The numbers that say sizes made huge, wherever they stand in the text."""
    text, words = (
        data.decode("latin1"),
        ("hidden", "channels", "dilation", "size", "num_layers", "receptive_field", "shape"),
    )
    at = text.find(rng.choice(words), rng.randrange(len(text) + 1))
    digits = next((i for i in range(at, min(at + 60, len(text))) if text[i].isdigit()), -1) if at >= 0 else -1
    return (text[:digits] + rng.choice(("9" * 9, "65536", "0", "-1")) + text[digits:] if digits >= 0 else text).encode(
        "latin1"
    )


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(2**28 + 2**20))
    return file.getvalue()


def _gzip_bomb(document: bytes) -> bytes:
    return gzip.compress(document + b" " * (2**26), 9)


@cache
def _bombs() -> list[bytes]:
    return [
        gzip.compress(gzip.compress(bytes(2**27), 9), 9),
        _gzip_bomb(b'{"layers": [], "in_shape": [1]}'),
        _zip_bomb(),
    ]


CHANGES: dict[str, tuple[Callable, float]] = {
    "bytes": (change_bytes, 2),
    "cut": (cut, 1),
    "json": (change_json, 5),
    "packed": (packed, 0.5),
    "pickles": (attacked, 1),
    "sizes": (swollen, 1),
}


def case(seed: int, n: int, files: dict[str, bytes]) -> tuple[str, str, bytes]:
    """What is done to which file, and what comes of it."""
    rng = random.Random(f"{seed}:{n}")
    names = sorted(files)
    few = [name for name in names if len(files[name]) < 20_000]
    name = rng.choice(few if rng.random() < 0.8 else names)
    kind = rng.choices(list(CHANGES), [weight for _, weight in CHANGES.values()])[0]
    if kind == "json" and files[name][:1] not in (b"{", b"["):
        kind = "bytes"
    return kind, name, CHANGES[kind][0](rng, files[name])


# --- documents that hypothesis makes up ---

TENSORS = st.recursive(st.floats(-2, 2, width=32), lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=30)
VALUES = st.one_of(st.sampled_from(JUNK), TENSORS, st.text(max_size=5), st.integers(), st.floats())
LAYER = st.fixed_dictionaries(
    {"type": st.sampled_from(["dense", "conv1d", "gru", "lstm", "prelu", "batchnorm", "activation", "conv2d"])},
    optional={key: VALUES for key in ("activation", "shape", "kernel_size", "dilation", "groups", "strides", "epsilon")}
    | {"weights": st.lists(TENSORS, max_size=4)},
)


def _some(*keys: str) -> st.SearchStrategy:
    return st.dictionaries(st.sampled_from(keys), VALUES)


KEYS = {
    "layers": st.lists(LAYER, max_size=3) | VALUES,
    "in_shape": st.sampled_from([[None, None, 1], [None, 2], [1]]) | VALUES,
    "model_data": _some("model", "unit_type", "skip", "hidden_size", "bias_fl") | VALUES,
    "state_dict": _some("rec.weight_ih_l0", "rec.weight_hh_l0", "lin.weight") | VALUES,
    "config": _some("layers", "hidden_size", "num_layers", "input_size", "dilations"),
    "architecture": st.sampled_from(["LSTM", "WaveNet", "ConvNet", "Linear", "SlimmableContainer", "Sequential", "x"]),
    "version": st.sampled_from(["0.5.4", "0.7.0", "1.0.0", "2"]) | VALUES,
    "lstm.weight_ih_l0": TENSORS, "lstm.weight_hh_l0": TENSORS, "dense.weight": TENSORS,
    "variables": st.lists(_some("layer_idx", "name", "data"), max_size=3) | VALUES,
    **dict.fromkeys(("weights", "metadata", "sample_rate", "in_skip", "in_gain", "out_gain"), VALUES),
    **dict.fromkeys(("input_batch", "output_batch"), VALUES),
    **dict.fromkeys(("residual_channels", "filter_width", "dilations", "activation", "knobs", "bias"), VALUES),
}  # fmt: skip
FAMILIES = [
    ("layers", "in_shape"),
    ("layers", "in_shape", "in_skip", "in_gain", "input_batch", "output_batch"),
    ("model_data", "state_dict", "knobs"),
    ("architecture", "weights", "config", "version", "metadata", "sample_rate"),
    ("variables", "residual_channels", "filter_width", "dilations", "activation"),
    ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "dense.weight", "bias"),
]
DOCUMENTS = st.sampled_from(FAMILIES).flatmap(lambda keys: st.fixed_dictionaries({key: KEYS[key] for key in keys}))
