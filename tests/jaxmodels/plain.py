"""Other people's model files played in plain numpy, float64, a sample at a time: written from their descriptions.

Nothing here knows our code; what both make of a file has to agree.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
}


def keras_layer(layer: dict, x: np.ndarray) -> np.ndarray:
    """One layer of RTNeural's JSON on a whole signal `[T, I]`, from zero state."""
    kind, w = layer["type"], [np.array(tensor, float) for tensor in layer["weights"]]
    after = ACTIVATIONS[layer.get("activation", "")]
    if kind in ("dense", "time-distributed-dense"):
        return after(x @ w[0] + (w[1] if len(w) > 1 else 0))
    if kind == "conv1d":
        (taps, fed, outputs), dilation, groups = w[0].shape, layer["dilation"][0], layer.get("groups", 1)
        y = np.zeros((len(x), outputs))
        for t in range(len(x)):
            for k in range(taps):
                at = t - dilation * (taps - 1 - k)
                for o in range(outputs if at >= 0 else 0):
                    first = o // (outputs // groups) * fed
                    y[t, o] += x[at, first : first + fed] @ w[0][k, :, o]
        return after(y + (w[1] if len(w) > 1 else 0))
    if kind == "lstm":
        return lstm(x, *w)
    if kind == "gru":
        return gru(x, *w)
    if kind == "prelu":
        return np.where(x > 0, x, w[0].reshape(-1) * x)
    if kind == "batchnorm":
        gamma, beta = w[:2] if len(w) == 4 else (1, 0)
        return gamma * (x - w[-2]) / np.sqrt(w[-1] + layer["epsilon"]) + beta
    assert kind == "activation"
    return after(x)


def lstm(x, w, u, b):
    """Keras's LSTM, gates i, f, c, o."""
    h = c = np.zeros(len(u))
    out = []
    for v in x:
        i, f, g, o = np.split(v @ w + h @ u + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


def gru(x, w, u, b):
    """Keras's GRU, gates z, r, c: two biases where the reset gate comes after the product, one where before."""
    n, out = len(u), []
    h = np.zeros(n)
    for v in x:
        if b.ndim == 2:
            a, s = v @ w + b[0], h @ u + b[1]
            z, r = sigmoid(a[:n] + s[:n]), sigmoid(a[n : 2 * n] + s[n : 2 * n])
            candidate = np.tanh(a[2 * n :] + r * s[2 * n :])
        else:
            a = v @ w + b
            z, r = sigmoid(a[:n] + h @ u[:, :n]), sigmoid(a[n : 2 * n] + h @ u[:, n : 2 * n])
            candidate = np.tanh(a[2 * n :] + (r * h) @ u[:, 2 * n :])
        h = (1 - z) * candidate + z * h
        out.append(h)
    return np.array(out)


def keras(document: dict, x: np.ndarray) -> np.ndarray:
    """RTNeural's Keras JSON: `x [T, I]` -> `[T]`."""
    assert x.shape[1] == document["in_shape"][-1]
    for layer in document["layers"]:
        x = keras_layer(layer, x)
    return x[:, 0]


def aidax(document: dict, x: np.ndarray) -> np.ndarray:
    """AIDA-X: gains in dB around the network, and the scaled input added where `in_skip`."""
    gain_in, gain_out = (10 ** (document.get(key, 0) / 20) for key in ("in_gain", "out_gain"))
    x = np.concatenate([x[:, :1] * gain_in, x[:, 1:]], axis=1)
    return gain_out * (keras(document, x) + (x[:, 0] if document.get("in_skip", 0) else 0))


def guitarml(document: dict, x: np.ndarray) -> np.ndarray:
    """CoreAudioML and GuitarML JSON: PyTorch's LSTM (i, f, g, o) or GRU (r, z, n), a linear layer, the dry signal."""
    said, w = document["model_data"], {key: np.array(value, float) for key, value in document["state_dict"].items()}
    v = x
    for n in range(said["num_layers"]):
        weight_ih, weight_hh = w[f"rec.weight_ih_l{n}"].T, w[f"rec.weight_hh_l{n}"].T
        bias_ih, bias_hh = w[f"rec.bias_ih_l{n}"], w[f"rec.bias_hh_l{n}"]
        if said["unit_type"] == "LSTM":
            v = lstm(v, weight_ih, weight_hh, bias_ih + bias_hh)
        else:  # r, z, n as z, r, n

            def swapped(a):
                r, z, new = np.split(a, 3, axis=-1)
                return np.concatenate([z, r, new], axis=-1)

            v = gru(v, swapped(weight_ih), swapped(weight_hh), np.stack([swapped(bias_ih), swapped(bias_hh)]))
    y = v @ w["lin.weight"].T + (w["lin.bias"] if said["bias_fl"] else 0)
    return y[:, 0] + (x[:, 0] if said["skip"] else 0)


def nam_lstm(document: dict, x: np.ndarray) -> np.ndarray:
    """NAM's LSTM, from the state in the file: `x [T, 1]` -> `[T]`."""
    config, flat, v = document["config"], np.array(document["weights"], float), x

    def take(*shape):
        nonlocal flat
        part, flat = flat[: np.prod(shape)], flat[np.prod(shape) :]
        return part.reshape(shape)

    hidden, width = config["hidden_size"], config["input_size"]
    for _ in range(config["num_layers"]):
        both, bias, h, c = take(4 * hidden, width + hidden), take(4 * hidden), take(hidden), take(hidden)
        out = []
        for s in v:
            i, f, g, o = np.split(both @ np.concatenate([s, h]) + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
        v, width = np.array(out), hidden
    y = v @ take(hidden) + take(1)
    assert not len(flat)
    return y


def guitarml_wavenet(document: dict, x: np.ndarray) -> np.ndarray:
    """GuitarML's WaveNet JSON on a signal `[T]`, every past zero at its start."""
    width, taps, dilations = (document[key] for key in ("residual_channels", "filter_width", "dilations"))
    w = {(v["layer_idx"], v["name"]): np.array([float(s) for s in v["data"]]) for v in document["variables"]}
    gates = {"gated": (np.tanh, sigmoid), "softgated": (softsign, softsign)}.get(document["activation"])
    plain = {**ACTIVATIONS, "linear": ACTIVATIONS[""], "softsign": softsign}.get(document["activation"])
    y, kept = x[:, None] * w[-1, "W"] + w[-1, "b"], []
    for n, dilation in enumerate(dilations):
        kernel = w[n, "W_conv"].reshape(taps, width, -1)
        z = np.tile(w[n, "b_conv"], (len(y), 1))
        for k in range(taps):
            lag = (taps - 1 - k) * dilation
            z[lag:] += y[: len(y) - lag] @ kernel[k]
        a = gates[0](z[:, :width]) * gates[1](z[:, width:]) if gates else plain(z)
        kept.append(a)
        y = y + a @ w[n, "W_out"].reshape(width, width) + w[n, "b_out"]
    last = len(dilations)
    return np.concatenate(kept, axis=1) @ w[last, "W"] + w[last, "b"]


def softsign(x):
    return x / (1 + np.abs(x))


def document(path: Path) -> dict:
    """A JSON file."""
    return json.loads(Path(path).read_text())
