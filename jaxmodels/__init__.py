"""Sound as values: streaming neural and DSP effects for JAX.

    from jaxmodels import load, apply
    y = apply(load("capture.json"), x)          # x: [T] or [T, 1] float32

Names are resolved on first use, so that `jaxmodels.xla` can set compiler flags before JAX starts.
"""

from __future__ import annotations

from importlib import import_module

from . import xla

xla.configure()

_HOME = {
    "Chain": "effect",
    "Effect": "effect",
    "Knob": "effect",
    "PerChannel": "effect",
    "apply": "effect",
    "positions": "effect",
    "widen": "effect",
    "export": "exporting",
    "ModelFileError": "files",
    "inspect": "files",
    "load": "files",
    "save": "files",
    "BOXES": "boxes",
    "make": "boxes",
    "verify_effect": "laws",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'jaxmodels' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
