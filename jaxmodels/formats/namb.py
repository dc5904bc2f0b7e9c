"""Binary NAM captures, `.namb`, of TONE3000's dialect: header, metadata, a block that describes the network, weights.

What it says is put in the words of a `.nam` file and read by `nam`. NeuralAmpModeler-rs writes another dialect under
the same magic; it is told by its checksum and refused. All numbers are little-endian.
Source: tone-3000/nam-binary-loader.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from ..effect import Effect
from . import Facts, ModelFileError, Options, Source, nam
from .nam_envelope import DEEPEST, envelope

MAGIC = b"BMAN"
HEADER, METADATA = 32, 48  # bytes
CHECKSUM_AT = 24
ACTIVATIONS = (
    "Tanh",
    "Hardtanh",
    "Fasttanh",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "Sigmoid",
    "SiLU",
    "Hardswish",
    "LeakyHardtanh",
    "Softsign",
)
FILMS = ("conv_pre", "conv_post", "input_mixin_pre", "input_mixin_post")
FILMS += ("activation_pre", "activation_post", "layer1x1_post", "head1x1_post")
GATING = ("none", "gated", "blended")
REMEDY = "use the .nam file that it was made from, or convert that again"


def sniff(source: Source) -> bool:
    """Whether a file is of this family."""
    return source.data.startswith(MAGIC)


def read(source: Source, options: Options = Options()) -> Effect:
    """The network of a file; raises ModelFileError, also where the checksum is wrong."""
    return nam.build(envelope(source.name, document(source)), options)


def facts(source: Source) -> Facts:
    """What a file says of itself; raises ModelFileError."""
    return nam.tell(envelope(source.name, document(source)))


def document(source: Source) -> dict[str, Any]:
    """The file as the object that a `.nam` file would hold, its weights as an array."""
    name, data = source.name, source.data
    if len(data) < HEADER + METADATA:
        raise ModelFileError(f"{name}: this is a .namb file of {len(data)} bytes, too short for its header; {REMEDY}")
    version, _, size, at, count, block, checksum = struct.unpack_from("<HHIIIII", data, 4)
    if version != 1 or size != len(data) or checksum != zlib.crc32(data[CHECKSUM_AT + 4 :], _crc_of_start(data)):
        why = "its checksum is wrong: it is damaged, or in the dialect of NeuralAmpModeler-rs, which is not read"
        raise ModelFileError(f"{name}: this is a .namb file, but {why}; {REMEDY}")
    end = at + 4 * count
    if not HEADER + METADATA + block <= at or end > size:
        raise ModelFileError(f"{name}: its {count} weights at byte {at} do not fit in the file; {REMEDY}")
    said = _metadata(data[HEADER : HEADER + METADATA])
    weights = np.frombuffer(data, "<f4", count, at)
    try:
        described, rest = _model(_Cursor(data[HEADER + METADATA : at]), weights)
    except (struct.error, IndexError) as error:
        raise ModelFileError(f"{name}: its description of the network is broken ({error}); {REMEDY}") from error
    if len(rest):
        raise ModelFileError(f"{name}: {len(rest)} weights belong to no network; {REMEDY}")
    return described | said


def _crc_of_start(data: bytes) -> int:
    """The checksum leaves its own four bytes out."""
    return zlib.crc32(data[:CHECKSUM_AT])


def _metadata(block: bytes) -> dict[str, Any]:
    major, minor, patch, flags, rate, *levels = struct.unpack_from("<BBBBdddd", block)
    names = ("loudness", "input_level_dbu", "output_level_dbu")
    there = {name: level for i, (name, level) in enumerate(zip(names, levels, strict=True)) if flags >> i & 1}
    return {"version": f"{major}.{minor}.{patch}", "sample_rate": rate, "metadata": there}


class _Cursor:
    """Reads numbers one after another; raises struct.error at the end."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, layout: str) -> Any:
        """One value, or a tuple of several, of a struct layout."""
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values if len(values) != 1 else values[0]

    def several(self, layout: str, count: int) -> list:
        return [self.take(layout) for _ in range(count)]


def _model(cursor: _Cursor, weights: np.ndarray, depth: int = 0) -> tuple[dict[str, Any], np.ndarray]:
    """A network's architecture, config and weights, and the weights that are left."""
    kind, _, _ = cursor.take("BBH")
    if kind == 3:
        return _wavenet(cursor, weights, depth)
    if kind == 0:
        taps, bias, inputs, outputs = cursor.take("iBBBx")
        config = {"receptive_field": taps, "bias": bool(bias)}
    elif kind == 1:
        channels, batchnorm, layers, groups, inputs, outputs = cursor.take("HBBHBB")
        config = {"channels": channels, "batchnorm": bool(batchnorm), "groups": groups}
        config |= {"activation": _activation(cursor), "dilations": cursor.several("i", layers)}
    elif kind == 2:
        layers, input_size, hidden, inputs, outputs = cursor.take("HHHBBxx")
        config = {"num_layers": layers, "input_size": input_size, "hidden_size": hidden}
    else:
        raise IndexError(f"architecture {kind}")
    architecture = ("Linear", "ConvNet", "LSTM")[kind]
    config |= {"in_channels": inputs, "out_channels": outputs}
    return {"architecture": architecture, "config": config, "weights": weights}, weights[:0]


def _wavenet(cursor: _Cursor, weights: np.ndarray, depth: int) -> tuple[dict[str, Any], np.ndarray]:
    inputs, has_head, arrays, has_condition = cursor.take("BBBB")
    if has_head:
        raise IndexError("a head after the layers, whose shape this format does not hold")
    config: dict[str, Any] = {"in_channels": inputs, "head": None}
    if has_condition:
        if depth == DEEPEST:
            raise IndexError("condition networks are nested too deeply")
        count = cursor.take("I")
        if count > len(weights):
            raise IndexError(f"{count} weights of a condition network, of {len(weights)} in all")
        said = _metadata(bytes(cursor.take("B" * METADATA)))
        nested, rest = _model(cursor, weights[:count], depth + 1)
        if len(rest):
            raise IndexError(f"{len(rest)} weights of its condition network belong to nothing")
        config["condition_dsp"] = nested | said | {"weights": nested["weights"].tolist()}
        weights = weights[count:]
    config["layers"] = [_layer_array(cursor) for _ in range(arrays)]
    config["head_scale"] = float(weights[-1]) if len(weights) else 0.0
    return {"architecture": "WaveNet", "config": config, "weights": weights}, weights[:0]


def _layer_array(cursor: _Cursor) -> dict[str, Any]:
    inputs, condition, head_size, channels, bottleneck, head_kernel = cursor.take("HHHHHH")
    head_bias, layers, groups, groups_mixin = cursor.take("BBHH")
    residual, residual_groups = cursor.take("BHx")
    skip, skip_outputs, skip_groups = cursor.take("BHHx")
    array = {
        "input_size": inputs,
        "condition_size": condition,
        "channels": channels,
        "bottleneck": bottleneck,
        "head": {"out_channels": head_size, "kernel_size": head_kernel or 1, "bias": bool(head_bias)},
        "groups_input": groups,
        "groups_input_mixin": groups_mixin,
        "layer1x1": {"active": bool(residual), "groups": residual_groups},
        "head1x1": {"active": bool(skip), "out_channels": skip_outputs, "groups": skip_groups},
    }
    for film in FILMS:
        flags, film_groups = cursor.take("BxH")
        array[f"{film}_film"] = {"active": bool(flags & 1), "shift": bool(flags & 2), "groups": film_groups}
    array["dilations"] = cursor.several("i", layers)
    array["kernel_sizes"] = cursor.several("H", layers)
    array["activation"] = [_activation(cursor) for _ in range(layers)]
    array["gating_mode"] = [GATING[cursor.take("B")] for _ in range(layers)]
    array["secondary_activation"] = [_activation(cursor) for _ in range(layers)]
    return array


def _activation(cursor: _Cursor) -> dict[str, Any]:
    """NAM's object for an activation."""
    kind, count = cursor.take("BB")
    described: dict[str, Any] = {"type": ACTIVATIONS[kind]}
    values = [float(str(np.float32(value))) for value in cursor.several("f", count)]  # 0.01, as the .nam file said
    if described["type"] == "LeakyReLU" and values:
        described["negative_slope"] = values[0]
    if described["type"] == "PReLU" and values:
        described |= {"negative_slope": values[0]} if count == 1 else {"negative_slopes": values}
    if described["type"] == "LeakyHardtanh" and count >= 4:
        described |= dict(zip(("min_val", "max_val", "min_slope", "max_slope"), values, strict=False))
    return described
