"""Where the sounds that come with the program lie: impulse responses, loops, models."""

from __future__ import annotations

from pathlib import Path


def assets_folder() -> Path:
    """The folder of `irs/`, `audio/` and `models/`: beside the packages in a checkout, inside `rack` in a wheel.

    Raises FileNotFoundError naming both places where there is neither.
    """
    package = Path(__file__).resolve().parent
    places = (package.parent / "assets", package.parent / "rack" / "_assets")
    for place in places:
        if (place / "SOURCES.md").is_file():
            return place
    raise FileNotFoundError(f"no assets at {places[0]} or {places[1]}: install again, or use a whole checkout")
