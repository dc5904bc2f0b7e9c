"""ONNX Runtime on one thread: the LSTM or GRU operator and a matrix product, with state in and out."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # where ONNX's gates (i o f c; z r h) lie among PyTorch's


def step(kind: str, tensors: dict[str, np.ndarray], block: int):
    """A call that takes a block `[T, 1]` and answers with the next block of output.

    `kind` is lstm or gru; `tensors` are PyTorch's own, and `head`, `head_bias` of the linear layer.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session = onnxruntime.InferenceSession(model(kind, tensors, block), options, ["CPUExecutionProvider"])
    hidden = tensors["weight_hh_l0"].shape[1]
    names = ("h", "c") if kind == "lstm" else ("h",)
    state = {name: np.zeros((1, 1, hidden), np.float32) for name in names}

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal state
        y, *after = session.run(None, {"x": x[:, None, :], **state})
        state = dict(zip(names, after, strict=True))
        return y

    return call


def model(kind: str, tensors: dict[str, np.ndarray], block: int) -> bytes:
    """The network as an ONNX file: x `[T, 1, I]`, h (and c) `[1, 1, H]` -> y `[T, 1]`, h, c."""
    hidden, inputs = tensors["weight_hh_l0"].shape[1], tensors["weight_ih_l0"].shape[1]

    def reordered(tensor):
        return np.concatenate([np.split(tensor, len(GATES[kind]))[gate] for gate in GATES[kind]])

    weights = {
        "W": reordered(tensors["weight_ih_l0"])[None],
        "R": reordered(tensors["weight_hh_l0"])[None],
        "B": np.concatenate([reordered(tensors["bias_ih_l0"]), reordered(tensors["bias_hh_l0"])])[None],
        "head": tensors["head"].T.copy(),
        "head_bias": tensors["head_bias"],
        "rows": np.array([block, hidden], np.int64),
    }
    lstm = kind == "lstm"
    states = ["h", "c"] if lstm else ["h"]
    extra = {} if lstm else {"linear_before_reset": 1}  # PyTorch's GRU: the reset gate scales the product
    after = [f"{name}_after" for name in states]
    nodes = [
        helper.make_node(
            "LSTM" if lstm else "GRU", ["x", "W", "R", "B", "", *states], ["all", *after], hidden_size=hidden, **extra
        ),
        helper.make_node("Reshape", ["all", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["product"]),
        helper.make_node("Add", ["product", "head_bias"], ["y"]),
    ]

    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        kind,
        [info("x", [block, 1, inputs]), *(info(name, [1, 1, hidden]) for name in states)],
        [info("y", [block, 1]), *(info(name, [1, 1, hidden]) for name in after)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()
