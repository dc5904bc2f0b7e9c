"""PyTorch on one thread: a recurrent layer and a linear one, eager, with state in and out."""

from __future__ import annotations

import numpy as np
import torch


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
