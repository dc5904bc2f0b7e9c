"""`python -m trainer run.toml [--resume] [--pictures]`: trains, writing JSON lines to standard output."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts)

from . import machine


def main() -> int:
    options = {word for word in sys.argv[1:] if word in ("--resume", "--pictures")}
    arguments = [word for word in sys.argv[1:] if word not in options]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m trainer RUN.toml [--resume] [--pictures]", file=sys.stderr)
        return 2
    from jaxmodels.files import ModelFileError

    from . import config, recipes
    from .train import print_line, train

    asked: list[int] = []

    def stop(number, frame) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        run, resume, pictures = config.load(Path(arguments[0])), "--resume" in options, "--pictures" in options
        machine.prepare(recipes.recurrent(run))
        train(run, print_line, resume=resume, stop=lambda: bool(asked), pictures=pictures)
    except (config.TrainerError, ModelFileError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
