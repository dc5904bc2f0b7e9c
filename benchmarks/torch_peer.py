"""PyTorch on one thread, eager: recurrent networks, plain WaveNets, and the micro-TCN streamed in two ways."""

from __future__ import annotations

import math

import numpy as np
import torch

SILENCE = 8192  # samples: more than any of these networks remembers


def step(kind: str, tensors: dict[str, np.ndarray], block: int):
    """A call that takes a block `[T, 1]` and answers with the next block of output.

    `kind` is lstm or gru; `tensors` are PyTorch's own, and `head`, `head_bias` of the linear layer.
    """
    torch.set_num_threads(1)
    hidden, inputs = tensors["weight_hh_l0"].shape[1], tensors["weight_ih_l0"].shape[1]
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](inputs, hidden)
    head = torch.nn.Linear(hidden, 1)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own = {"head": head.weight, "head_bias": head.bias}.get(name)
            (getattr(layer, name) if own is None else own).copy_(torch.from_numpy(tensor))
    state = None

    @torch.inference_mode()
    def call(x: np.ndarray) -> np.ndarray:
        nonlocal state
        y, state = layer(torch.from_numpy(x).unsqueeze(1), state)
        return head(y).squeeze(1).numpy()

    return call


def tcn_step(weights: dict[str, np.ndarray], dilations: list[int], values: list[float], block: int, cached: bool):
    """The causal micro-TCN: a call that takes a block `[T, 1]` and answers with the next block of output.

    `weights` are PyTorch's own, `values` the knobs'. As its paper streams it (`cached` false), each call computes the
    whole receptive field again and keeps the last T samples; with caches, each layer keeps the past that it needs.
    """
    torch.set_num_threads(1)
    w = {name: torch.from_numpy(np.array(tensor)) for name, tensor in weights.items()}
    condition = torch.tensor([values])
    for n in (0, 2, 4):
        condition = torch.relu(torch.nn.functional.linear(condition, w[f"gen.{n}.weight"], w[f"gen.{n}.bias"]))
    films, lookbacks = [], []
    for n, dilation in enumerate(dilations):
        adaptor = (w[f"blocks.{n}.film.adaptor.{part}"] for part in ("weight", "bias"))
        films.append(torch.nn.functional.linear(condition, *adaptor)[:, :, None].chunk(2, dim=1))
        lookbacks.append((w[f"blocks.{n}.conv1.weight"].shape[2] - 1) * dilation)
    widths = [w[f"blocks.{n}.conv1.weight"].shape[1] for n in range(len(dilations))]
    pasts = [torch.zeros(1, width, lookback) for width, lookback in zip(widths, lookbacks, strict=True)]
    whole = torch.zeros(1, 1, sum(lookbacks))

    def layer(n, x):
        """`[1, C, H + T]` -> `[1, C', T]`"""
        conv, residual = w[f"blocks.{n}.conv1.weight"], w[f"blocks.{n}.res.weight"]
        gamma, beta = films[n]
        y = gamma * torch.nn.functional.conv1d(x, conv, dilation=dilations[n]) + beta
        y = torch.nn.functional.prelu(y, w[f"blocks.{n}.relu.weight"])
        late = x[:, :, lookbacks[n] - 1 : -1]
        return y + torch.nn.functional.conv1d(late, residual, groups=x.shape[1])

    @torch.inference_mode()
    def call(x: np.ndarray) -> np.ndarray:
        nonlocal whole
        y = torch.from_numpy(x).T[None]
        if not cached:
            y = torch.cat([whole, y], dim=2)
            whole = y[:, :, block:]
        for n in range(len(dilations)):
            if cached:
                y = torch.cat([pasts[n], y], dim=2)
                pasts[n] = y[:, :, block:]
            y = layer(n, y)
        y = torch.nn.functional.conv1d(y, w["output.weight"], w["output.bias"])
        return torch.tanh(y)[0].T.numpy()

    for _ in range(-(-whole.shape[2] // block) if cached else 0):
        call(np.zeros((block, 1), np.float32))  # the pasts are then those of silence
    return call


def wavenet_step(config: dict, weights: np.ndarray, block: int):
    """A plain WaveNet of NAM's (no gates, no FiLM), each convolution keeping the past that it needs.

    `config` and the flat `weights` are those of a `.nam` file. A call takes a block `[T, 1]` and answers with the next.
    """
    torch.set_num_threads(1)
    rest = torch.from_numpy(np.array(weights, np.float32))

    def take(*shape):
        nonlocal rest
        part, rest = rest[: math.prod(shape)].reshape(shape), rest[math.prod(shape) :]
        return part

    def remembered(weight, bias, dilation=1):
        past = torch.zeros(1, weight.shape[1], (weight.shape[2] - 1) * dilation)

        def conv(x):
            nonlocal past
            x = torch.cat([past, x], dim=2)
            past = x[:, :, x.shape[2] - past.shape[2] :]
            return torch.nn.functional.conv1d(x, weight, bias, dilation=dilation)

        return conv

    arrays = []
    for array in config["layers"]:
        width, head, layers, count = array["channels"], array["head"], [], len(array["dilations"])
        rechannel = take(width, array["input_size"], 1)
        activation = torch.tanh if array["activation"] == "Tanh" else torch.nn.functional.leaky_relu
        for kernel, dilation in zip(array.get("kernel_sizes") or [array["kernel_size"]] * count, array["dilations"],
                                    strict=True):  # fmt: skip
            conv = remembered(take(width, width, kernel), take(width), dilation)
            layers.append((conv, take(width, 1, 1), take(width, width, 1), take(width), activation))
        shape = head["out_channels"], width, head["kernel_size"]
        arrays.append((rechannel, layers, remembered(take(*shape), take(shape[0]) if head["bias"] else None)))
    scale = take(1)

    @torch.inference_mode()
    def call(x: np.ndarray) -> np.ndarray:
        c = y = torch.from_numpy(x).T[None]
        skips = 0.0
        for rechannel, layers, head in arrays:
            y = torch.nn.functional.conv1d(y, rechannel)
            for conv, mixin, mix, bias, activation in layers:
                z = activation(conv(y) + torch.nn.functional.conv1d(c, mixin))
                skips = skips + z
                y = y + torch.nn.functional.conv1d(z, mix, bias)
            skips = head(skips)
        return (scale * skips)[0].T.numpy()

    for _ in range(SILENCE // block + 1):
        call(np.zeros((block, 1), np.float32))  # the pasts are then those of silence
    return call
