"""The server process: `python -m rack.server [--rack NAME]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import logging.handlers
import os
import sys
from collections.abc import Sequence

from .. import paths
from ..catalogue import BoxInfo, catalogue
from ..cores import leave_one_for_audio
from ..errors import RackError
from .lock import Taken, take_lock
from .server import Server

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None, boxes: dict[str, BoxInfo] | None = None, **commands) -> int:
    """Run the server; `boxes` and the commands of engine and workshop are the real ones unless told otherwise."""
    parser = argparse.ArgumentParser(prog="python -m rack.server", description="The nafx-rack server.")
    parser.add_argument("--rack", default="", help="the rack to start with")
    asked = parser.parse_args(arguments)
    try:
        take_lock(paths.lock_path())  # never given back: it goes when the process has gone
    except Taken as taken:
        print(taken, file=sys.stderr)
        return 3
    except RackError as error:
        print(error, file=sys.stderr)
        return 1
    leave_one_for_audio()
    _log()
    logger.info("server %d begins", os.getpid())
    try:
        asyncio.run(_serve(boxes if boxes is not None else catalogue(), asked.rack, commands))
    except RackError as error:
        logger.error("%s", error)
        print(error, file=sys.stderr)
        return 1
    except Exception:
        logger.exception("the server failed")
        raise
    return 0


async def _serve(boxes: dict[str, BoxInfo], rack: str, commands: dict) -> None:
    await Server(boxes, rack, **commands).run()


def _log() -> None:
    path = paths.log_path("server")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=1 << 20, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
