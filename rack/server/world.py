"""What changes may ask of the disk: files by the names people give them, their neighbours, and new recordings."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from .. import paths
from ..catalogue import BoxInfo
from ..checks import find_file
from .shelf import Shelf
from .state import World
from .tape import check_sound

MODEL_SUFFIXES = (".json", ".nam", ".aidax", ".safetensors", ".npz", ".pt", ".pth", ".h5", ".keras", ".gz")
SOUND_SUFFIXES = (".wav", ".flac", ".aif", ".aiff")
MOST_FILES = 1000


def world(boxes: dict[str, BoxInfo], shelf: Shelf) -> World:
    """The real one."""
    return World(
        boxes,
        find=find,
        is_folder=os.path.isdir,
        beside=beside,
        playable=lambda path: shelf.playable(path) or beside(path),
        library=shelf.about,
        check_sound=check_sound,
        recording=recording,
        models=shelf.models,
        responses=responses,
        seed=lambda: secrets.randbits(32),
    )


def find(name: str) -> str:
    """The whole path of a file, named from the user's config folder or the shipped assets; "" where there is none."""
    found = find_file(name, paths.config_folder())
    return str(found) if found else ""


def beside(name: str) -> list[str]:
    """Files of the same kind in the same folder, sorted by name."""
    path = Path(name)
    suffixes = MODEL_SUFFIXES if path.suffix.lower() in MODEL_SUFFIXES else (path.suffix.lower(),)
    return _files(path.parent, suffixes) if name else []


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.is_file()]
    except OSError:
        return []
    return [str(p) for p in sorted(found, key=lambda p: p.name.casefold())]


def responses() -> list[str]:
    """Impulse responses that can be chosen by name: the user's and the shipped ones."""
    found: list[str] = []
    for folder in (paths.data_folder() / "irs", paths.assets() / "irs"):
        for place in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())):
            found += _files(place, SOUND_SUFFIXES)
    return found[:MOST_FILES]


def recording() -> str:
    """A new file in the user's recordings."""
    folder, name = paths.data_folder() / "recordings", time.strftime("%Y-%m-%d_%H%M%S")
    path, number = folder / f"{name}.wav", 2
    while path.exists():
        path, number = folder / f"{name}_{number}.wav", number + 1
    return str(path)
