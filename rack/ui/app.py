"""Where the terminal starts: decides about colours and speed, then imports Textual, which reads them on import."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from ..cores import leave_one_for_audio

COLORS = ("auto", "truecolor", "256", "16", "none")
FPS = "120"  # at most: a key waits this long behind the frame of the meters, which come far more seldom
_SYSTEMS = {"truecolor": "truecolor", "256": "256", "16": "standard", "none": "standard"}


def environment(color: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that Textual has to find: colours, frames on demand, and no animation over a remote line."""
    out: dict[str, str] = {}
    if color in _SYSTEMS:
        out["TEXTUAL_COLOR_SYSTEM"] = _SYSTEMS[color]
    if color == "none":
        out["NO_COLOR"] = "1"
    if "SSH_CONNECTION" in environ:
        out |= {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SMOOTH_SCROLL": "0"}
    else:
        out["TEXTUAL_FPS"] = FPS
    return out


def run(socket_path: str, *, color: str = "auto", glyphs: str = "auto", rate_hz: float | None = None) -> int:
    """Show the rack of the server at this socket until the user leaves; answers with the exit status."""
    os.environ.update(environment(color, os.environ))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would keep it alive on a terminal that is gone
    leave_one_for_audio()
    from .terminal import RackApp

    app = RackApp(socket_path, glyphs=glyphs, rate_hz=rate_hz)
    app.run()
    return app.return_code or 0
