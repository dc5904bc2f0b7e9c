"""What the server starts with: the racks of the user, or the shipped ones, and what the journal remembers of them."""

from __future__ import annotations

from pathlib import Path

from .. import paths
from ..config import ConfigError, Rack, Racks, load
from .journal import read_journal, restored
from .keys import change
from .state import State, World, begin


def first_state(world: World, rack: str = "") -> tuple[State, tuple[str, ...], list[str]]:
    """The state to begin with, what is wrong with racks.toml, and what else is to be said; `rack` is asked for."""
    racks, problems = load_racks(world)
    state = begin(racks)
    journal, said = read_journal(paths.journal_path())
    if journal:
        state = restored(state, journal)
    if rack and rack in state.file.racks:
        state = change(state, world, "rack", rack)[0]
    return state, problems, [said] if said else []


def load_racks(world: World) -> tuple[Racks, tuple[str, ...]]:
    """The user's racks, or the shipped ones where there are none or they cannot be read; and what is wrong."""
    problems: tuple[str, ...] = ()
    for path in (paths.racks_path(), paths.shipped_racks()):
        if not path.is_file():
            continue
        try:
            racks, wrong = load(path, world.catalogue)
            return racks, problems + tuple(map(str, wrong))
        except ConfigError as error:
            problems += (str(error),)
    return Racks("empty", racks={"empty": Rack()}), problems


def problems_of(path: Path, world: World) -> tuple[str, ...]:
    """What is wrong with a racks.toml."""
    try:
        return tuple(map(str, load(path, world.catalogue)[1]))
    except ConfigError as error:
        return (str(error),)
