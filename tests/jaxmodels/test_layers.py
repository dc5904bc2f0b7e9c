"""Layers one by one against PyTorch's recorded output, and stacks of them against plain numpy."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmodels.effect import Knob, apply
from jaxmodels.layers import LAYERS, Layers, PReLU, Scaled, Spec
from tests.jaxmodels import plain
from tests.jaxmodels.streaming import streamed
from tests.variants import slow_except

BLOCKS = [1, 17, 64, 2048]


def tensors(rng, **shapes):
    return {name: rng.uniform(-0.7, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


@jax.jit
def call(layer, state, x):
    return layer(state, x)


def run(layer, x):
    """A layer on a whole signal `[T, I]`, in two halves."""
    half = len(x) // 2
    first, state = call(layer, layer.initial_state(), jnp.asarray(x[:half], jnp.float32))
    second, _ = call(layer, state, jnp.asarray(x[half:], jnp.float32))
    return np.concatenate([first, second])


# --- convolutions that PyTorch recorded; they have several outputs and are no boxes ---


@pytest.mark.parametrize(
    "name, x, y, dilation, groups, stride",
    [
        ("", "_x_python", "_y_python", 1, 1, 1),
        ("_stride_3", "_x_python_stride_3", "_y_python_stride_3", 1, 1, 3),
        ("_group_6_3_3_1_3", "_group_x_python", "_group_y_python_6_3_3_1_3", 1, 3, 1),
        ("_group_6_3_4_10_3", "_group_x_python", "_group_y_python_6_3_4_10_3", 10, 3, 1),
        ("_group_6_6_1_1_6", "_group_x_python", "_group_y_python_6_6_1_1_6", 1, 6, 1),
    ],
)
def test_torchs_convolutions(fixtures, name, x, y, dilation, groups, stride):
    """They are valid ones: what would hear the past before the recording is missing."""
    stored = json.loads((fixtures / f"models/rtneural_torch/conv1d_torch{name}.json").read_text())
    x, y = (np.loadtxt(fixtures / f"vectors/rtneural/conv1d_torch{n}.csv", delimiter=",", ndmin=2) for n in (x, y))
    layer = LAYERS["conv1d"](np.array(stored["weight"]), np.array(stored["bias"]), dilation=dilation, groups=groups)
    got = run(layer, x)[layer.lookback :: stride].T
    np.testing.assert_allclose(got[:, : y.shape[1]], y, rtol=0, atol=1e-6)


def test_a_block_of_the_micro_tcn(fixtures):
    """Convolution, normalisation and PReLU, and the input beside them through a 1x1 convolution."""
    stored = {part: json.loads((fixtures / f"models/rtneural_torch/microtcn_{part}.json").read_text())
              for part in ("conv1", "bn", "relu", "res")}  # fmt: skip
    x, y = (np.loadtxt(fixtures / f"vectors/rtneural/microtcn_{n}.csv", delimiter=",", ndmin=2) for n in "xy")
    conv = LAYERS["conv1d"](np.array(stored["conv1"]["weight"]), dilation=10)
    w = {key: np.array(value, float) for key, value in stored["bn"].items()}
    scale = w["weight"] / np.sqrt(w["running_var"] + w["eps"])
    norm = LAYERS["batchnorm"](scale, w["bias"] - scale * w["running_mean"])
    slopes = PReLU(np.array(stored["relu"]["weight"]))
    through = LAYERS["conv1d"](np.array(stored["res"]["weight"]))
    got = run(slopes, run(norm, run(conv, x))) + run(through, x)
    late = got[conv.lookback :].T
    np.testing.assert_allclose(late, y, rtol=0, atol=1e-6)


# --- stacks ---


def stack(rng, cell="gru", old=False):
    """A stack with every kind of layer, as specs and as RTNeural's JSON."""
    gates = {"lstm": 4, "gru": 3}[cell]
    dense = tensors(rng, weight=(2, 4), bias=(4,))
    conv = tensors(rng, weight=(6, 2, 3), bias=(6,))
    cells = tensors(rng, weight_ih=(6, gates * 5), weight_hh=(5, gates * 5), bias=(gates * 5,))
    if cell == "gru" and not old:
        cells |= tensors(rng, bias_hn=(5,))
    last = tensors(rng, weight=(5, 1))
    scale, slope = tensors(rng, scale=(6,), shift=(6,)), tensors(rng, slope=(6,))
    specs = [
        Spec("dense", dense),
        Spec("activation", {}, {"name": "softmax"}),
        Spec("conv1d", conv, {"dilation": 150, "groups": 2}),
        Spec("prelu", slope),
        Spec("batchnorm", scale),
        Spec("recurrent", cells, {"cell": cell}),
        Spec("dense", last),
        Spec("activation", {}, {"name": "elu"}),
    ]

    def columns(a):
        if cell == "lstm":
            return a
        r, z, n = np.split(a, 3, axis=-1)
        return np.concatenate([z, r, n], axis=-1)

    bias = cells["bias"]
    if cell == "gru" and not old:
        bias = np.stack([bias, np.concatenate([np.zeros(10), cells["bias_hn"]])])
    weights = [[dense["weight"], dense["bias"]], [conv["weight"].transpose(2, 1, 0), conv["bias"]], [slope["slope"]]]
    layers = [
        {"type": "dense", "activation": "softmax", "weights": weights[0]},
        {"type": "conv1d", "weights": weights[1], "dilation": [150], "groups": 2},
        {"type": "prelu", "weights": weights[2]},
        {"type": "batchnorm", "epsilon": 0, "weights": [scale["scale"], scale["shift"], np.zeros(6), np.ones(6)]},
        {"type": cell, "weights": [columns(cells["weight_ih"]), columns(cells["weight_hh"]), columns(bias)]},
        {"type": "dense", "activation": "elu", "weights": [last["weight"]]},
    ]
    return specs, {"in_shape": [None, None, 2], "layers": layers}


STACKS = [(*cell, skip) for cell in (("gru", False), ("gru", True), ("lstm", False)) for skip in (True, False)]


@pytest.mark.parametrize("cell, old, skip", slow_except([STACKS[0], STACKS[-1]], STACKS))
def test_a_stack_of_all_layers_is_what_numpy_says(cell, old, skip):
    specs, document = stack(np.random.default_rng(0), cell, old)
    box = Layers(specs, skip=skip, knobs=(Knob("a"),))
    x = np.random.default_rng(1).uniform(-1, 1, (400, 2)).astype(np.float32)
    want = plain.keras(document, x.astype(float)) + (x[:, 0] if skip else 0)
    np.testing.assert_allclose(apply(box, x[:, :1], x[:, 1:])[:, 0], want, rtol=0, atol=3e-6)
    assert box.receptive_field is None and box.latency == 0
    assert Layers(specs[:5] + [Spec("dense", {"weight": np.ones((6, 1))})], knobs=(Knob("a"),)).receptive_field == 301


@pytest.mark.parametrize("length", slow_except([1, 64], BLOCKS))
def test_blocks_of_any_length(length):
    box = Layers(stack(np.random.default_rng(0))[0], knobs=(Knob("a"),))
    x = np.random.default_rng(1).uniform(-1, 1, 2100)
    y = streamed(box, x, length)
    np.testing.assert_allclose(y, apply(box, x)[: len(y)], rtol=0, atol=1e-6)


def test_gains_are_around_the_box():
    box = Layers(stack(np.random.default_rng(0))[0], knobs=(Knob("a"),))
    scaled, x = Scaled(box, 4.0, -0.5), np.random.default_rng(1).uniform(-1, 1, 100)
    np.testing.assert_allclose(apply(scaled, x), -0.5 * apply(box, 4 * x), rtol=0, atol=1e-6)
    assert scaled.knobs == box.knobs and scaled.receptive_field == box.receptive_field


def test_what_does_not_fit_is_named():
    one, wide = Spec("dense", {"weight": np.ones((1, 3))}), Spec("dense", {"weight": np.ones((4, 1))})
    for specs, knobs, message in (
        ([one, wide], 0, r"layer 1 \(dense\) takes 4 inputs and is given 3"),
        ([one], 0, "the last layer has 3 outputs; a box has 1"),
        ([wide], 0, r"layer 0 \(dense\) takes 4 inputs and is given 1"),
        ([Spec("conv1d", {"weight": np.ones((1, 1, 3))}, {"dilation": 10**9})], 0, "remember 2000000000 samples"),
        ([Spec("conv1d", {"weight": np.ones((1, 16, 2))}, {"dilation": 2**19}),
          Spec("dense", {"weight": np.ones((1, 9))})] * 2, 15, "takes 16 inputs"),
        ([Spec("dense", {"weight": np.ones((1, 1)), "bias": np.ones(2)})], 0, r"bias of shape \[2\] for 1 outputs"),
        ([Spec("recurrent", {"weight_ih": np.ones((1, 9)), "weight_hh": np.ones((3, 9)), "bias": np.ones(9)},
               {"cell": "lstm"})], 0, "lstm of 3 units: weights of shapes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Layers(specs, knobs=tuple(Knob(f"k{n}") for n in range(knobs)))
