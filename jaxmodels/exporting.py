"""Networks as other programs' model files: `export(path, effect, family)`."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .effect import Effect
from .files import write_whole
from .formats import Facts, ModelFileError, aidax, guitarml, keras, nam, shown
from .recurrent import GRU, LSTM, straightened

FAMILIES = {
    "aidax": "AIDA-X, its LV2 plug-in, and RTNeural with gains, dry signal and self-test",
    "guitarml": "CoreAudioML, Proteus, NeuralPi, Chameleon",
    "nam": "Neural Amp Modeler",
    "rtneural": "RTNeural's Keras JSON, and all that is built on it",
}


def export(path: str | os.PathLike, effect: Effect, family: str, *, facts: Facts | None = None) -> tuple[str, ...]:
    """Write a network as a file of one of FAMILIES, whole or not at all; answers what the file could not hold.

    LSTM and GRU go into `aidax`, `guitarml` and `rtneural`; LSTM and WaveNet without knobs into `nam`. Reading the file
    back gives the same weights to the last bit, save that no file holds a taper: there such a knob runs straight.
    `facts` become metadata where the family has any. Raises ModelFileError for what the family cannot play, KeyError
    for a family that is none.
    """
    path = Path(path)
    if family not in FAMILIES:
        raise KeyError(f"no family {family!r}; there are: {', '.join(FAMILIES)}")
    if family == "nam":
        try:
            data = nam.write(effect, _nam_metadata(facts) if facts else None)
        except ModelFileError as error:
            raise ModelFileError(f"{path.name}: {error}") from error
        write_whole(path, data)
        return ()
    if not isinstance(effect, LSTM | GRU):
        kind = type(effect).__name__
        raise ModelFileError(f"{path.name}: not written: a {kind} is no LSTM or GRU, which is all that {family} holds")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(effect)):
        raise ModelFileError(f"{path.name}: not written: a weight is not finite; go back to an earlier checkpoint")
    notes = _refused_or_noted(path, effect, family, facts)
    effect = straightened(effect)
    write = {"aidax": aidax.write, "guitarml": guitarml.write, "rtneural": keras.write}[family]
    document = write(effect, facts) if family == "aidax" else write(effect)  # type: ignore[call-arg]
    write_whole(path, json.dumps(document, allow_nan=False).encode())
    return tuple(notes)


def _refused_or_noted(path: Path, effect: LSTM | GRU, family: str, facts: Facts | None) -> list[str]:
    """What the file will not say; raises ModelFileError where it would then sound otherwise."""
    settings, notes = effect.settings, []
    if family == "rtneural" and settings.skip:
        what = "RTNeural's JSON cannot say that the dry signal is added; use aidax or guitarml"
        raise ModelFileError(f"{path.name}: not written: {what}")
    if family == "aidax":
        if settings.inputs > 3:
            raise ModelFileError(f"{path.name}: not written: {settings.inputs - 1} knobs; AIDA-X has 2 at most")
        wrong = next((knob for knob in effect.knobs if (knob.low, knob.high, knob.curve) != (0, 1, "linear")), None)
        if wrong:
            what = f"knob {wrong.name} goes {wrong.low:g} to {wrong.high:g} ({wrong.curve}); AIDA-X's go 0 to 1"
            raise ModelFileError(f"{path.name}: not written: {what}")
        if settings.layers > 1 or settings.hidden not in aidax.PLAYABLE:
            sizes = ", ".join(map(str, aidax.PLAYABLE))
            notes.append(f"AIDA-X's plug-in plays one layer of {sizes} units, not {settings.layers}x{settings.hidden}")
    if family == "guitarml":
        if not settings.skip:
            notes.append("GuitarML's plug-ins add the dry signal to every network, to this one as well")
        for knob in effect.knobs:
            if (knob.low, knob.high, knob.curve) != (0, 1, "linear") or knob.labels:
                notes.append(f"knob {knob.name}: the file tells its range, but not its unit, curve and labels")
    elif effect.knobs and effect.knobs != keras.parameters(settings.inputs):
        told = ", ".join(f"{knob.name} ({knob.low:g} to {knob.high:g})" for knob in effect.knobs)
        notes.append(f"the knobs {told} are PARAM1 and so on in the file, which are given those values as they are")
    usual = {"guitarml": guitarml.USUAL_RATE, "rtneural": keras.USUAL_RATE}.get(family)
    rate = effect.sample_rate
    if usual and rate is not None and guitarml.rate_of(path, usual) != rate:
        notes.append(f"the file does not tell its {rate} Hz; put them into its name (..._{rate}.json)")
    if settings.fast_tanh:
        notes.append("the file does not tell that it was made with NAM's fast tanh; others play the exact one")
    for k in effect.tapers:
        straight = "the file cannot hold; there the knob runs straight through all that the taper makes of it"
        notes.append(f"knob {effect.knobs[int(k)].name} has a learned taper, which {straight}")
    if np.asarray(effect.initial[...]).any():
        notes.append("the file does not hold the state that the network starts in; others start from silence")
    if facts and family != "aidax":
        notes.append("the file has no place for a name, an author and other facts")
    return notes


def _nam_metadata(facts: Facts) -> dict[str, Any]:
    """Facts under NAM's names."""
    said = {
        "name": facts.name,
        "modeled_by": facts.author,
        "gear_model": facts.gear,
        "gear_type": facts.gear_type,
        "tone_type": facts.tone_type,
        "loudness": facts.loudness_db,
        "gain": facts.gain,
        "input_level_dbu": facts.input_level_dbu,
        "output_level_dbu": facts.output_level_dbu,
        "license": facts.licence,
        "training": None if facts.esr is None else {"validation_esr": facts.esr},
    }
    if facts.date:
        try:
            date = datetime.fromisoformat(facts.date)
        except ValueError as error:
            raise ModelFileError(f"not written: date = {shown(facts.date)} is not of ISO 8601") from error
        said["date"] = {key: getattr(date, key) for key in ("year", "month", "day", "hour", "minute", "second")}
    return {key: value for key, value in said.items() if value is not None}
