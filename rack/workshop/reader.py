"""Reads model files for the scanner: paths as JSON lines on stdin, what is in them as JSON lines on stdout."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import sys

import msgspec

from jaxmodels import ModelFileError, inspect
from rack.library import Reading
from rack.scan import LEGACY, LONGEST_FILE, limit_memory

SUFFIXES = (".nam", ".namb", ".aidax", ".safetensors", ".nafx", ".pt", ".pth", ".nm")  # meant to be models
UNKNOWN = "not a model file of any known kind"  # what `inspect` says of everything else
PIECE = 1 << 20


def reading(path: str) -> Reading:
    """What is in a file, or why it cannot be read; never raises."""
    name = os.path.basename(path)
    meant = name.lower().endswith(SUFFIXES)
    digest = ""
    try:
        digest = _digest(path, meant)
        if not digest:
            return Reading(path, other=True)
        family, facts = inspect(path)
        known = {key: value for key, value in dataclasses.asdict(facts).items() if value not in (None, "", ())}
        return Reading(path, digest, family, known)
    except ModelFileError as error:
        return Reading(path, digest, error=str(error), other=UNKNOWN in str(error) and not meant)
    except MemoryError:
        return Reading(path, digest, error=f"{name}: takes more memory than a model may; it is not a sound model file")
    except OSError as error:
        return Reading(path, digest, error=f"{name}: cannot be read: {error.strerror or error}", other=not meant)
    except Exception as error:  # a fault of ours; the file is not to blame, and the others are to be read
        return Reading(path, digest, error=f"{name}: {type(error).__name__} while reading it: {error}")


def _digest(path: str, meant: bool) -> str:
    """A hash of what is in the file; "" where its first bytes can be no model's, or it is no plain file."""
    digest = hashlib.blake2b(digest_size=16)
    parts = [os.path.join(path, part) for part in sorted(LEGACY)] if os.path.isdir(path) else [path]
    for part in parts:
        descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its other end
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_FILE:
                return ""
            piece = file.read(PIECE)
            if len(parts) == 1 and not meant and not _may_be(piece):
                return ""
            while piece:
                digest.update(piece)
                piece = file.read(PIECE)
    return digest.hexdigest()


def _may_be(start: bytes) -> bool:
    """Whether a file that begins so may be a model: JSON, gzip, zip, pickle, NAM binary or safetensors."""
    if start.startswith((b"\x1f\x8b", b"PK\3\4", b"\x80\2", b"\x80\4", b"BMAN")):
        return True
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") or start[8:9] == b"{"


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    limit_memory()
    for line in sys.stdin.buffer:
        answers.write(msgspec.json.encode(reading(json.loads(line))) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
