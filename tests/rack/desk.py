"""A server with fake children and one client, and what the client does wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rack import protocol

from .running import wait
from .test_jobs import Rig, job

RATE = 48000
TINY = {"network": {"hidden": 2}, "schedule": {"batch": 2, "segment": 1024, "chunk": 512, "warm_up": 100}}


class Desk(Rig):
    """A rig with one client, and the mistakes that it makes."""

    def set(self, key: str, value: Any = "") -> str:
        """The error that a change is answered with."""
        return self.client.set(key, value)

    def value(self, key: str, value: Any) -> Any:
        """What a change is answered with, if it is no error."""
        self.client.requests += 1
        reply = self.client.ask(protocol.Set(key, value, self.client.requests))
        assert not reply.error, reply.error
        return reply.value

    def notice(self, words: str) -> str:
        """A line to everybody with these words; one of this test, or one to come."""

        def told(message) -> bool:
            return isinstance(message, protocol.Notice) and words in message.text

        before = [message.text for message in self.client.heard[self.since :] if told(message)]
        return before[0] if before else self.client.receive(protocol.Notice, told).text

    def sound(self, name: str, x: np.ndarray, rate: int = RATE) -> str:
        path = self.home / f"{name}.wav"
        soundfile.write(path, x, rate, subtype="FLOAT")
        return str(path)

    def bad(self, dry: str, wet: str) -> str:
        """What the checks say first about two files."""
        return "; ".join(self.value("jobs.check", {"dry": dry, "wet": wet})["findings"][0][part]
                         for part in ("severity", "message", "reason", "remedy"))  # fmt: skip

    def real(self, dry: str, wet: str, **more: Any) -> str:
        """A job of the real trainer."""
        new = {"recipe": "capture", "dry": dry, "wet": wet, "run_keys": TINY, "steps": 100_000}
        return self.order(self.client, new | more)

    def failed(self, id: str) -> str:
        return job(self.client, id, "failed").note

    def learning(self, slot: str = "gain", step: int = 2, kind: str = "steer") -> str:
        """A job of the fake trainer that plays in a slot, and is held at a step."""
        self.gate("comp", step)
        path = Path(self.run("one", steps=8))
        path.write_text(path.read_text().replace('"steer"', f'"{kind}"'))
        id = self.order(self.client, {"run": str(path), "slot": slot, "title": "comp"})
        job(self.client, id, "running", that=lambda job: job.last and job.last.step == step)
        if slot:
            wait(lambda: "/jobs/" in self.client.get(f"{slot}.model"))
        return id

    def clear(self) -> None:
        """Everything as it was, for the next mistake."""
        (self.home / "full").unlink(missing_ok=True)
        while self.client.get("undo"):
            assert self.set("undo") == ""
        for each in reversed(self.client.get("jobs")):  # the queue from its end: a job that is removed makes way
            assert self.set("jobs.remove", each["id"]) == ""
        for path in self.home.glob("gate-*"):
            path.unlink()
