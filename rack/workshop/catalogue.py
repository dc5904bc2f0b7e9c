"""Writes `rack/catalogue.json`: every kind of box, its knobs and settings (`python -m rack.workshop.catalogue`)."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import msgspec

from jaxmodels.blend import Blend, BlendSettings, Through
from jaxmodels.boxes import BOXES, make
from jaxmodels.levels import CaptureSettings, Levels
from rack.catalogue import BoxInfo, SettingInfo
from rack.config import BLEND, MODEL

from .boxes import knob_infos

MODEL_HELP = "A model file: a capture or an effect that was trained; its knobs come with it."
BLEND_HELP = "Two model files side by side, lined up in time and polarity; each brings its knobs."


def box_infos() -> tuple[BoxInfo, ...]:
    """The catalogue of the boxes in the table, and of the slot that plays model files."""
    model = BoxInfo(MODEL, MODEL_HELP, knob_infos(Levels(Through())), _settings(CaptureSettings))
    blend = BoxInfo(
        BLEND, BLEND_HELP, knob_infos(Blend(Levels(Through()), Levels(Through()))), _settings(BlendSettings)
    )
    return (*(_info(kind, box) for kind, box in BOXES.items()), model, blend)


def _info(kind: str, box: type) -> BoxInfo:
    help = (inspect.getdoc(box) or "").split("\n\n")[0].replace("\n", " ")
    return BoxInfo(kind, help, knob_infos(make(kind, channels=2)), _settings(box.Settings))


def _settings(cls: type) -> tuple[SettingInfo, ...]:
    return tuple(_setting(field) for field in dataclasses.fields(cls))


def _setting(field: dataclasses.Field) -> SettingInfo:
    assert field.default is not dataclasses.MISSING  # every setting has one, which gives its type
    return SettingInfo(name=field.name, type=type(field.default).__name__, default=field.default, **field.metadata)


def encoded() -> bytes:
    """The catalogue as it is kept in the repository."""
    return msgspec.json.format(msgspec.json.encode(box_infos()), indent=1) + b"\n"


if __name__ == "__main__":
    (Path(__file__).parents[1] / "catalogue.json").write_bytes(encoded())
