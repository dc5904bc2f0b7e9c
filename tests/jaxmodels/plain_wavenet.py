"""NAM's WaveNet in plain numpy: float64, no streaming, every field as the description says."""

from __future__ import annotations

import math

import numpy as np


def np_activation(spec, x):
    kind, spec = (spec, {}) if isinstance(spec, str) else (spec["type"], spec)
    slope = np.array(spec.get("negative_slopes", [spec.get("negative_slope", 0.01)]))[:, None]
    low, high = spec.get("min_val", -1), spec.get("max_val", 1)
    by_kind = {
        "Tanh": lambda: np.tanh(x),
        "ReLU": lambda: np.maximum(x, 0),
        "LeakyReLU": lambda: np.where(x > 0, x, slope * x),
        "PReLU": lambda: np.where(x > 0, x, slope * x),
        "Sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "SiLU": lambda: x / (1 + np.exp(-x)),
        "Hardswish": lambda: x * np.clip(x + 3, 0, 6) / 6,
        "Softsign": lambda: x / (1 + np.abs(x)),
        "LeakyHardtanh": lambda: np.where(
            x < low,
            low + spec.get("min_slope", 0.01) * (x - low),
            np.where(x > high, high + spec.get("max_slope", 0.01) * (x - high), x),
        ),
    }
    return by_kind[kind]()


def np_conv(x, weight, bias, dilation=1, groups=1):
    outputs, inputs, taps = weight.shape
    y = np.zeros((outputs, x.shape[1]))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for k in range(taps):
                lag = (taps - 1 - k) * dilation
                y[o, lag:] += weight[o, i, k] * x[first + i, : x.shape[1] - lag]
    return y if bias is None else y + bias[:, None]


class Flat:
    """The flat weights, taken from the front."""

    def __init__(self, weights):
        self.rest = np.asarray(weights, np.float64)

    def take(self, *shape):
        size = math.prod(shape)
        part, self.rest = self.rest[:size], self.rest[size:]
        assert len(part) == size
        return part.reshape(shape)


def np_wavenet(config, weights, x, nested=None):
    """`x [I, T]` to `[O, T]`, from a past of zeros."""
    flat = Flat(weights)
    if config.get("condition_dsp"):
        inner = config["condition_dsp"]
        c = np_wavenet(inner["config"], inner["weights"] if nested is None else nested, x)
    else:
        c = x
    y, head = x, 0.0
    for a in config["layers"]:
        y, head = np_array(a, flat, y, c, head)
    post = config.get("head")
    convs = []
    if post:
        ins = len(head)
        for n, k in enumerate(post["kernel_sizes"], 1):
            out = post["out_channels" if n == len(post["kernel_sizes"]) else "channels"]
            convs.append((flat.take(out, ins, k), flat.take(out)))
            ins = out
    out = head * flat.take(1)[0]
    assert len(flat.rest) == 0
    for weight, bias in convs:
        out = np_conv(np_activation(post["activation"], out), weight, bias)
    return out


def np_array(a, flat, y, c, head):
    a = {{"1x1": "layer1x1", "head_1x1": "head1x1"}.get(key, key): value for key, value in a.items()}
    channels, count = a["channels"], len(a["dilations"])
    inner, conds = a.get("bottleneck", channels), a["condition_size"]
    y = np_conv(y, flat.take(channels, a["input_size"], 1), None)

    def each(key, default=None):
        value = a.get(key, default)
        return value if isinstance(value, list) else [value] * count

    gates = each("gating_mode", "gated" if a.get("gated") else "none")
    kernels = a.get("kernel_sizes", [a.get("kernel_size")] * count)
    one, two = a.get("layer1x1", {"active": True, "groups": 1}), a.get("head1x1", {"active": False})
    skip = two["out_channels"] if two["active"] else inner
    for n in range(count):
        wide = inner * (1 if gates[n] == "none" else 2)
        groups, mix_groups = a.get("groups_input", 1), a.get("groups_input_mixin", 1)
        conv = flat.take(wide, channels // groups, kernels[n]), flat.take(wide)
        mixin = flat.take(wide, conds // mix_groups, 1)
        if one["active"]:
            w1 = flat.take(channels, inner // one["groups"], 1), flat.take(channels)
        if two["active"]:
            w2 = flat.take(skip, inner // two["groups"], 1), flat.take(skip)
        films = {}
        widths = {
            "conv_pre_film": channels,
            "conv_post_film": wide,
            "input_mixin_pre_film": conds,
            "input_mixin_post_film": wide,
            "activation_pre_film": wide,
            "activation_post_film": inner,
            "layer1x1_post_film": channels,
            "head1x1_post_film": skip,
        }
        for name, width in widths.items():
            film = a.get(name)
            if film and film.get("active", True):
                rows = width * (2 if film.get("shift", True) else 1)
                groups_f = film.get("groups", 1)
                films[name] = flat.take(rows, conds // groups_f, 1), flat.take(rows), groups_f

        def modulated(name, v, films=films):
            if name not in films:
                return v
            weight, bias, groups_f = films[name]
            made = np_conv(c, weight, bias, 1, groups_f)
            return v * made[: len(v)] + (made[len(v) :] if len(made) > len(v) else 0)

        z = modulated("conv_post_film", np_conv(modulated("conv_pre_film", y), *conv, a["dilations"][n], groups))
        z = z + modulated(
            "input_mixin_post_film", np_conv(modulated("input_mixin_pre_film", c), mixin, None, 1, mix_groups)
        )
        z = modulated("activation_pre_film", z)
        act = each("activation")[n]
        if gates[n] == "none":
            out = np_activation(act, z)
        else:
            gate = np_activation(each("secondary_activation", "Sigmoid")[n] or "Sigmoid", z[inner:])
            out = gate * np_activation(act, z[:inner])
            if gates[n] == "blended":
                out = out + (1 - gate) * z[:inner]
        out = modulated("activation_post_film", out)
        if one["active"]:
            y = y + modulated("layer1x1_post_film", np_conv(out, *w1, 1, one["groups"]))
        head = head + (modulated("head1x1_post_film", np_conv(out, *w2, 1, two["groups"])) if two["active"] else out)
    last = a.get("head") or {"out_channels": a["head_size"], "kernel_size": 1, "bias": a["head_bias"]}
    weight = flat.take(last["out_channels"], skip, last["kernel_size"])
    bias = flat.take(last["out_channels"]) if last["bias"] else None
    return y, np_conv(head, weight, bias, last.get("head_dilation", 1))
