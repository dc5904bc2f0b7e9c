"""What a run needs to go on as if nothing had happened, in one file that is replaced in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from .config import TrainerError, unwritten

UNREADABLE = (OSError, SafetensorError, KeyError, ValueError)


def save(path: Path, tree: Any, record: dict[str, Any]) -> None:
    """All arrays of a tree as safetensors, the record as JSON in its metadata; whole or not at all."""
    tensors = {f"{n:05d}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(tree))}
    temporary = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(safetensors.numpy.save(tensors, {"run": json.dumps(record)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritten(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """The tree, in the shape of `like`, and the record. Raises TrainerError."""
    try:
        tensors, record = _read(path)
    except UNREADABLE as error:
        raise TrainerError(f"{path}: is no checkpoint ({error}); delete it and start again") from None
    leaves, structure = jax.tree.flatten(like)
    if [np.shape(leaf) for leaf in leaves] != [tensor.shape for tensor in tensors]:
        raise TrainerError(f"{path}: belongs to another network; delete it and start again")
    return jax.tree.unflatten(structure, tensors), record


def set_aside(path: Path) -> str:
    """Give a checkpoint that cannot be read another name; answers so in words, or nothing where it can be read."""
    try:
        _read(path)
    except FileNotFoundError:
        pass
    except UNREADABLE:
        aside = path.replace(f"{path}.damaged")
        return f"{path.name} cannot be read and is set aside as {aside.name}"
    return ""


def _read(path: Path) -> tuple[list[jax.Array], dict[str, Any]]:
    with safe_open(path, "numpy") as file:
        record = json.loads((file.metadata() or {})["run"])
        return [jnp.asarray(file.get_tensor(name)) for name in sorted(file.keys())], record
