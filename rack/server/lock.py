"""One server for each user: a lock that dies with its holder, and a socket that only its owner can reach."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from ..errors import RackError


class Taken(RackError):
    """Another server of this user is running."""


def take_lock(path: Path) -> int:
    """Hold the lock until the process ends; answers its descriptor. Raises Taken."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise Taken(f"a server is running already (process {holder or 'unknown'}); nafx-rack attaches to it") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def holder(path: Path) -> int | None:
    """The process that holds the lock, 0 where it does not say; None where nobody holds it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except OSError:
        said = os.read(lock, 20).decode(errors="replace").strip()
        return int(said) if said.isdigit() else 0
    finally:
        os.close(lock)


def listen(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0600. Whoever calls holds the lock, so that one that is there is nobody's."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    path.chmod(0o600)
    listener.listen(64)
    listener.setblocking(False)
    return listener
