"""Pairs of recordings: what is wrong with them, how they look, how they compare with what was learned, how to make one.

The trainer looks at the recordings, in a process of its own; here they are only drawn, scaled and played.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile

from .. import paths
from ..jobs import Finding, Job, Pair, Waveform
from . import jobfiles, jobslots
from .jobfiles import JobError
from .state import State, spec
from .trainee import launched

COLUMNS = 400  # of a waveform
LONGEST_S = 600.0  # of a recording that is drawn
EXAMINE_S = 120.0
SILENT = 1e-4  # peak of a recording of nothing
GAIN = re.compile(r"output ([+-][0-9.]+) dB")  # what the workshop says of a slot that is matched in level
CHECKS = (sys.executable, "-m", "trainer.checks")
CAPTURE = (sys.executable, "-m", "rack.cli", "capture")


class Pairs:
    """`set` changes the rack as a client would; `say(level, text)` tells everybody something."""

    def __init__(
        self,
        state: Callable[[], State],
        set: Callable[..., Awaitable[Any]],
        say: Callable[[str, str], None],
    ):
        self._state, self._set, self._say = state, set, say
        self._before: dict[str, Any] = {}  # what a comparison has changed, to be put back
        self._recording = ""  # the dry file that is being played in
        self._was: dict[str, Any] = {}  # what that has changed
        self._capturing: asyncio.Task[dict[str, str]] | None = None

    # --- looking

    async def examined(self, dry: str, wet: str) -> Pair:
        """What the trainer finds wrong with two files, and what they look like. Raises JobError."""
        for name, path in (("dry", dry), ("wet", wet)):
            if not os.path.isfile(path):
                raise JobError(f"the {name} file {path or '(none)'}: there is no such file; choose it again")
        lines, said = await _run(*CHECKS, dry, wet, "--json", "--pair")
        records = [json.loads(line) for line in lines]
        if not records:
            raise JobError(said.removeprefix("trainer: ") or f"{dry}, {wet}: cannot be looked at")
        lies = records.pop()
        findings = tuple(msgspec.convert(record, Finding) for record in records)
        delay, rate = int(lies["delay"]), int(lies["rate"])
        return await asyncio.to_thread(_drawn, dry, wet, delay, rate, float(lies["seconds"]), findings)

    # --- comparing

    async def compare(self, job: Job, what: str) -> None:
        """Play the dry recording through the job's slot, or the wet one past it, as loud; or what played before."""
        state, slot = self._state(), jobslots.slot_of(self._state(), job.slot)
        if what == "off":
            before, self._before = self._before, {}
            for key, value in before.items():
                if "." not in key or jobslots.slot_of(state, key.partition(".")[0]):
                    await self._set(key, value, ("compare", job.id))
            return
        if not job.wet:
            raise JobError(f"{job.id}: there is no recording of the original to compare with")
        if slot is None or not jobfiles.is_ours(slot.model, job.id):
            raise JobError(f"{job.id} plays in no slot; let it be heard in one first (jobs.listen)")
        if not self._before:
            self._before = {"source": state.source.word, f"{slot.id}.bypass": slot.bypass}
        path = job.dry if what == "model" else str(await asyncio.to_thread(_as_loud, job, self._gain_db(slot.id)))
        await self._set("source", f"file:{path}", ("compare", job.id))
        await self._set(f"{slot.id}.bypass", what == "original", ("compare", job.id))

    def _gain_db(self, id: str) -> float:
        """The fixed gain after a slot's capture; what is as loud as the original gets the same."""
        slot = jobslots.slot_of(self._state(), id)
        facts = self._state().facts.get(spec(slot).key()) if slot else None
        found = [m for remark in (facts.remarks if facts else ()) if (m := GAIN.search(remark))]
        return float(found[0][1]) if found else 0.0

    # --- recording

    async def record(self, asked: dict[str, Any]) -> dict[str, str]:
        """One step of making a pair; answers where its files are or will be. Raises JobError."""
        what, name = asked.get("what"), str(asked.get("name") or time.strftime("%Y-%m-%d_%H%M%S"))
        place = paths.data_folder() / "recordings" / "pairs" / re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
        played, dry, wet = place / "played.wav", place / "dry.wav", place / "wet.wav"
        match what:
            case "dry":
                if self._state().recording:
                    raise JobError("jobs.record_pair: a recording is going on already; stop that first")
                place.mkdir(parents=True, exist_ok=True)
                self._was = {"bypass": self._state().bypass, "source": self._state().source.word}
                await self._set("source", "input")
                await self._set("bypass", True)
                await self._set("record", str(played))
                self._recording = str(played)
                return {"dry": str(played), "wet": ""}
            case "wet" | "both":
                if self._capturing and not self._capturing.done():
                    raise JobError("jobs.record_pair: a pair is being recorded already; stop that first")
                signal = played if what == "wet" else self._signal()
                if signal is None or not signal.is_file():
                    raise JobError(f"jobs.record_pair: {signal} is not there; record the dry side first")
                self._capturing = asyncio.create_task(self._capture(place, signal))
                self._capturing.add_done_callback(lambda task: task.cancelled() or task.exception())  # it was told
                return {"dry": str(dry), "wet": str(wet), "signal": str(signal)}
            case "look":
                done = self._capturing is not None and self._capturing.done()
                return self._capturing.result() if self._capturing and done else {"dry": "", "wet": ""}
            case "stop":
                return await self._stop()
        raise ValueError("what to record must be dry, wet, both, look or stop")

    def _signal(self) -> Path | None:
        """What is played out: the file that is the source, or else the loop."""
        source = self._state().source
        return Path(source.path) if source.kind == "file" else paths.loop_path()

    async def _stop(self) -> dict[str, str]:
        path, self._recording = self._recording, ""
        if path and self._state().recording == path:
            await self._set("record", False)
            for key, value in self._was.items():
                await self._set(key, value)
            if await asyncio.to_thread(_is_silent, path):
                inputs = ", ".join(map(str, self._state().audio.inputs)) or "none"
                why = f"nothing came in (audio.inputs = {inputs})"
                raise JobError(f"{path} is silent: {why}; look at the cable and the input, then record it again")
        if self._capturing:
            self._capturing.cancel()
            await asyncio.wait([self._capturing])
            self._capturing = None
        return {"dry": path, "wet": ""}

    async def _capture(self, place: Path, signal: Path) -> dict[str, str]:
        """Play a file out and record its return, with the sound card's own settings; the rack is silent meanwhile.

        Answers the pair. Raises JobError.
        """
        muted = self._state().mute
        await self._set("mute", True)
        try:
            return await self._captured(place, signal)
        finally:
            await self._set("mute", muted)

    async def _captured(self, place: Path, signal: Path) -> dict[str, str]:
        audio = self._state().audio
        options = ["--signal", str(signal), "--force", "--json"]
        options += ["--output", str(audio.outputs[0]), "--input", str((audio.inputs or (1,))[0])]
        if audio.output_device:
            options += ["--device", audio.output_device]
        self._say("info", f"{signal.name} is played out and its return recorded")
        lines, said = await _run(*CAPTURE, str(place), *options, limit_s=1900.0)
        bad = [json.loads(line) for line in lines if '"bad"' in line]
        dry, wet = place / "dry.wav", place / "wet.wav"
        if not wet.is_file():
            why = f"no pair was recorded: {said.removeprefix('nafx-rack: ') or 'see the log'}"
            self._say("error", why)
            raise JobError(why)
        if bad:
            self._say("warning", f"{place}: {bad[0].get('message')}; {bad[0].get('remedy')}")
        else:
            self._say("info", f"{place}: dry.wav and wet.wav are ready to learn from")
        return {"dry": str(dry), "wet": str(wet)}


async def _run(*command: str, limit_s: float = EXAMINE_S) -> tuple[list[str], str]:
    """The lines that a program prints, and the last one that it complains with."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *launched(*command), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        return [], f"{command[0]}: {error.strerror or error}"
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    except TimeoutError:
        return [], f"{command[2]} did not answer within {limit_s:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = err.decode(errors="replace").strip().splitlines()
    return out.decode(errors="replace").splitlines(), words[-1] if words else ""


def _drawn(dry: str, wet: str, delay: int, rate: int, seconds: float, findings: tuple[Finding, ...]) -> Pair:
    waves = [_wave(path, shift / rate, seconds) for path, shift in ((dry, max(0, -delay)), (wet, max(0, delay)))]
    return Pair(dry, wet, rate, seconds, delay, findings, *waves)


def _wave(path: str, skip_s: float, seconds: float) -> Waveform:
    """Least and largest sample of each column."""
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(min(round(skip_s * file.samplerate), file.frames))
            x = file.read(round(min(seconds, LONGEST_S) * file.samplerate), dtype="float32", always_2d=True).mean(
                axis=1
            )
    except (soundfile.LibsndfileError, OSError, ValueError):
        return Waveform()
    if not len(x):
        return Waveform()
    starts = np.unique(np.linspace(0, len(x), min(COLUMNS, len(x)), endpoint=False).astype(int))
    columns = [ufunc.reduceat(np.nan_to_num(x), starts) for ufunc in (np.minimum, np.maximum)]
    low, high = (tuple(round(float(value), 4) for value in column) for column in columns)
    return Waveform(low, high)


def _is_silent(path: str) -> bool:
    """Whether there is nothing to be heard in a recording."""
    try:
        with soundfile.SoundFile(path) as file:
            return not any(np.abs(block).max(initial=0.0) > SILENT for block in file.blocks(1 << 16, dtype="float32"))
    except (soundfile.LibsndfileError, OSError):
        return True


def _as_loud(job: Job, gain_db: float) -> Path:
    """The original, as loud as its model plays in the slot. Raises JobError."""
    to = jobfiles.of(job.id) / f"original{gain_db:+.1f}dB.wav"
    try:
        if not to.exists():
            x, rate = soundfile.read(job.wet, dtype="float32", always_2d=True)
            soundfile.write(to, x * 10 ** (gain_db / 20), rate, subtype="FLOAT")
    except (soundfile.LibsndfileError, OSError) as error:
        raise JobError(f"{job.wet}: cannot be played beside its model: {error}") from None
    return to
