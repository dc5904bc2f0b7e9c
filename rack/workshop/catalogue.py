"""Writes `rack/catalogue.json`: every kind of box, its knobs and settings (`python -m rack.workshop.catalogue`)."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import msgspec

from jaxmodels.boxes import BOXES, make
from rack.catalogue import BoxInfo, SettingInfo

from .boxes import knob_infos

MODEL = BoxInfo("model", "A model file: a capture or an effect that was trained; its knobs come with it.")


def box_infos() -> tuple[BoxInfo, ...]:
    """The catalogue of the boxes in the table, and of the slot that plays model files."""
    return (*(_info(kind, box) for kind, box in BOXES.items()), MODEL)


def _info(kind: str, box: type) -> BoxInfo:
    help = (inspect.getdoc(box) or "").split("\n\n")[0].replace("\n", " ")
    settings = tuple(_setting(field) for field in dataclasses.fields(box.Settings))
    return BoxInfo(kind, help, knob_infos(make(kind, channels=2)), settings)


def _setting(field: dataclasses.Field) -> SettingInfo:
    assert field.default is not dataclasses.MISSING  # every setting has one, which gives its type
    return SettingInfo(name=field.name, type=type(field.default).__name__, default=field.default, **field.metadata)


def encoded() -> bytes:
    """The catalogue as it is kept in the repository."""
    return msgspec.json.format(msgspec.json.encode(box_infos()), indent=1) + b"\n"


if __name__ == "__main__":
    (Path(__file__).parents[1] / "catalogue.json").write_bytes(encoded())
