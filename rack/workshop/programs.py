"""Compiled programs as files: built once for each structure, kept on disk, loaded by the engine without JAX tracing.

A program's name is the hash of what it computes (its lowered text), of the compiler (jaxlib, flags) and of the CPU, so
a file that exists is always the right one.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import serialize_executable

from jaxmodels import xla
from jaxmodels.effect import default_positions
from rack.shared import KNOBS

from .row import Prepared, program

KEEP_BYTES = 2 << 30  # the cache forgets its oldest files beyond this


class Compiled(NamedTuple):
    """Where the program lies, and whether it was there already."""

    path: Path
    cached: bool


def build(row: Sequence[Prepared], *, channels: int, rate: int, block: int, folder: Path) -> Compiled:
    """Compile a row of boxes for blocks of `block` samples, or find it in the folder."""

    def shape_of(arrays):
        return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arrays)

    arguments = (
        shape_of(tuple(box.weights for box in row)),
        shape_of(tuple(box.state for box in row)),
        jax.ShapeDtypeStruct((block, channels), np.float32),
        jax.ShapeDtypeStruct((block, channels), np.float32),
        jax.ShapeDtypeStruct((len(row), KNOBS), np.float32),
    )
    lowered = jax.jit(program(row, rate), donate_argnums=1, keep_unused=True).lower(*arguments)
    path = folder / f"{_key(lowered)}.program"
    if path.exists():
        os.utime(path)
        return Compiled(path, True)
    executable = lowered.compile()
    payload, in_tree, out_tree = serialize_executable.serialize(executable)
    facts = {"block": block, "channels": channels, "slots": len(row)}
    _write(path, lambda file: pickle.dump((facts, payload, in_tree, out_tree), file))
    return Compiled(path, False)


def structure(row: Sequence[Prepared], **stream: int) -> tuple | None:
    """All that decides about a row's program but the compiler: equal structures have equal programs.

    None where a box holds what cannot be compared.
    """
    layouts = [layout for box in row for layout in (box.weights_layout, box.state_layout)]
    key = (*((layout.structure, tuple(layout.shapes)) for layout in layouts), tuple(sorted(stream.items())))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _key(lowered) -> str:
    parts = (lowered.as_text(), version("jaxlib"), jax.__version__, os.environ["XLA_FLAGS"], xla.cpu_features())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def played(program: Path, box: Prepared, x: np.ndarray) -> np.ndarray:
    """A signal `[N, C]` through the program of a slot, its knobs at their defaults; N is cut to whole blocks."""
    with open(program, "rb") as file:
        facts, *parts = pickle.load(file)
    run, block = serialize_executable.deserialize_and_load(*parts), facts["block"]
    positions, targets = default_positions(box.effect), np.zeros((1, KNOBS), np.float32)
    targets[0, : 1 + len(positions)] = 1.0, *positions
    states, done = (box.state,), []
    for cut in x[: len(x) // block * block].reshape(-1, block, x.shape[1]):
        y, states, _ = run((box.weights,), states, cut, cut, targets)
        done.append(np.asarray(y))
    return np.concatenate(done)


def keep_arrays(box: Prepared, folder: Path) -> Path:
    """A box's weights and first state as a file for the engine, named by its content."""
    digest = hashlib.sha256()
    for array in (*box.weights, *box.state):
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    path = folder / f"{digest.hexdigest()[:32]}.arrays"
    if path.exists():
        os.utime(path)
        return path
    positions = 1 + len(box.effect.knobs)  # the first numbers of the state
    # Not an npz: reading one is 3 ms of Python, during which the callback waits again and again.
    _write(path, lambda file: pickle.dump((positions, box.weights, box.state), file, pickle.HIGHEST_PROTOCOL))
    return path


def forget_oldest(folder: Path, keep_bytes: int = KEEP_BYTES) -> None:
    """Remove the files unused for longest, until the folder is small enough; never one used in the last day."""
    files = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir()), reverse=True)
    total, yesterday = 0, time.time() - 86400
    for used, size, file in files:
        total += size
        if total > keep_bytes and used < yesterday:
            file.unlink(missing_ok=True)


def _write(path: Path, dump) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            dump(file)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
