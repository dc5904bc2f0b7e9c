"""`python -m trainer run.toml`: trains, writing JSON lines to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import jaxmodels  # noqa: F401  (sets the compiler flags before jax starts)


def main() -> int:
    from jaxmodels.files import ModelFileError

    from . import config
    from .train import print_line, train

    if len(sys.argv) != 2:
        print("usage: python -m trainer RUN.toml", file=sys.stderr)
        return 2
    try:
        train(config.load(Path(sys.argv[1])), print_line)
    except (config.TrainerError, ModelFileError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
