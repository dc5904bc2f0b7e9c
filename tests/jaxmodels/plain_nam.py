"""NAM's LSTM in plain numpy, a sample at a time, and documents to play."""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))


def fast_tanh(x):
    a, s = np.abs(x), x * x
    over = 2.45550750702956 + 2.45550750702956 * a + (0.893229853513558 + 0.821226666969744 * a) * s
    return x * over / (2.44506634652299 + (2.44506634652299 + s) * np.abs(x + 0.814642734961073 * x * a))


def fast_sigmoid(x):
    return 0.5 * (fast_tanh(0.5 * x) + 1)


def played(document, x, settle=0, tanh=np.tanh, sigmoid=sigmoid):
    """An LSTM by the words of its description, in float64, after `settle` samples of silence; `x [T, inputs]`."""
    config, flat, at = document["config"], np.array(document["weights"]), 0
    hidden, layers = config["hidden_size"], []
    for n in range(config["num_layers"]):
        width = hidden if n else np.shape(x)[1]
        shapes, parts = [(4 * hidden, width + hidden), (4 * hidden,), (hidden,), (hidden,)], []
        for shape in shapes:
            parts.append(flat[at : at + int(np.prod(shape))].reshape(shape))
            at += parts[-1].size
        layers.append(parts)
    head, bias = flat[at : at + hidden], flat[at + hidden]
    assert at + hidden + 1 == len(flat)
    silence = np.zeros((settle, np.shape(x)[1]))
    silence[:, 1:] = np.asarray(x)[:1, 1:]
    out = []
    for row in np.concatenate([silence, x]):
        v = row
        for layer in layers:
            w, b, h, c = layer
            i, f, g, o = np.split(w @ np.concatenate([v, h]) + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            v = h = sigmoid(o) * tanh(c)
            layer[2:] = h, c
        out.append(head @ v + bias)
    return np.array(out[settle:])


def lstm(hidden=4, layers=2, inputs=1, seed=0, **more):
    """A model whose h0 and c0 are far from where silence leaves them."""
    rng, parts = np.random.default_rng(seed), []
    for n in range(layers):
        width = hidden if n else inputs
        parts += [rng.normal(0, 0.7, 4 * hidden * (width + hidden + 1)), rng.uniform(-0.9, 0.9, 2 * hidden)]
    weights = np.concatenate([*parts, rng.normal(size=hidden + 1)]).astype(np.float32).tolist()
    config = {"input_size": inputs, "hidden_size": hidden, "num_layers": layers}
    return {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights, **more}


def linear(*response, **more):
    config = {"receptive_field": len(response), "bias": False}
    return {"version": "0.5.4", "architecture": "Linear", "config": config, "weights": list(response), **more}


def container(*models, sizes=(0.5, 1.0), **more):
    pairs = [{"max_value": size, "model": model} for size, model in zip(sizes, models, strict=True)]
    fields = {"version": "0.7.0", "architecture": "SlimmableContainer", "config": {"submodels": pairs}, "weights": []}
    return fields | more
