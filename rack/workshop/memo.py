"""What the workshop has answered before, on disk: a rack that was built once plays again without any tracing.

An answer holds for as long as everything that made it is the same: the order, the model file, our own code, and the
compiler. Of the knobs only the state that a slot starts from can depend, and it rarely does.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec

from jaxmodels import xla
from rack.protocol import BoxSpec, Build, Built, Fuse, Fused


class Answer(msgspec.Struct, frozen=True):
    """A Built or Fused of earlier, and for which positions of the knobs it holds (None: for all)."""

    message: Built | Fused
    positions: tuple[float, ...] | None = None


@cache
def makers() -> str:
    """A word for all that decides what an order is turned into, but for the order itself."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    library, workshop = (package.parent / "jaxmodels").rglob("*.py"), (package / "workshop").glob("*.py")
    for source in sorted((*library, *workshop, package / "shared.py")):
        digest.update(source.read_bytes())
    for name in ("jax", "jaxlib", "flax", "numpy"):
        digest.update(version(name).encode())
    digest.update(f"{xla.flags()} {xla.cpu_features()}".encode())
    return digest.hexdigest()


def stamps(*boxes: BoxSpec) -> list[str]:
    """The files that boxes are made from, and when each was changed last."""
    files = {file for box in boxes for file in (box.model, *box.settings.values()) if isinstance(file, str) and file}
    return [f"{file} {os.stat(file).st_mtime_ns}" for file in sorted(files) if os.path.isfile(file)]


def _path(order: Build | Fuse, folder: Path) -> Path:
    boxes = (order.box,) if isinstance(order, Build) else order.boxes
    parts = (type(order).__name__, makers(), *(box.key() for box in boxes), *stamps(*boxes))
    stream = f"{order.channels} {order.rate} {order.block} {order.levels_dbu}"
    digest = hashlib.sha256("\n".join((*parts, stream)).encode())
    return folder / f"{digest.hexdigest()[:32]}.answer"


def recall(order: Build | Fuse, folder: Path) -> Built | Fused | None:
    """The answer to an order, if it was given before and its files are still there."""
    try:
        answer = msgspec.msgpack.decode(_path(order, folder).read_bytes(), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None
    message = answer.message
    files = [message.program, *([message.arrays] if isinstance(message, Built) else [])]
    if isinstance(order, Build) and answer.positions is not None and answer.positions != order.box.positions:
        return None
    try:
        for file in files:
            os.utime(file)
    except OSError:
        return None
    return msgspec.structs.replace(message, ticket=order.ticket, seconds=0.0, cached=True)


def remember(order: Build | Fuse, message: Built | Fused, positions, folder: Path) -> None:
    """Keep an answer; `positions` where it holds for these alone."""
    path = _path(order, folder)
    with suppress(OSError):
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.msgpack.encode(Answer(message, positions)))
        os.replace(temporary, path)
