"""A server with fake children in a folder of its own, and a client that asks it things one after another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rack import __version__, protocol

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0  # on a busy machine


def wait(until: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """What `until` answers, as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "took too long"
        time.sleep(0.005)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and unburied does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Client:
    """A client that waits for its answers."""

    def __init__(self, path: Path, version: str = __version__, kind: str = "ui"):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.reader, self.heard, self.requests = protocol.Reader(protocol.FromServer), [], 0
        self.send(protocol.Hello(version, kind))

    def send(self, message) -> None:
        self.socket.sendall(protocol.frame(message))

    def receive(self, kind: type, that: Callable[[Any], Any] = lambda message: True):
        """The next message of a kind for which `that` is true; everything else is kept in `heard`."""
        end = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < end, f"no such {kind.__name__}; heard {self.heard[-5:]}"
            message = self.reader.receive(self.socket)
            self.heard.append(message)
            if isinstance(message, kind) and that(message):
                return message

    def view(self, that: Callable[[protocol.View], Any] = lambda view: True) -> protocol.View:
        """The next view for which `that` is true."""
        return self.receive(protocol.Snapshot, lambda snapshot: that(snapshot.view)).view

    def ready(self) -> protocol.View:
        """The view when everything has been built."""
        return self.view(lambda view: view.audio.backend == "null" and all(s.status != "building" for s in view.slots))

    def ask(self, message) -> protocol.Reply:
        self.send(message)
        return self.receive(protocol.Reply, lambda reply: reply.request == message.request)

    def set(self, key: str, value=None, gesture: int = 0) -> str:
        """Change something; answers the error."""
        self.requests += 1
        return self.ask(protocol.Set(key, value, self.requests, gesture)).error

    def get(self, key: str):
        self.requests += 1
        return self.ask(protocol.Get(key, self.requests)).value

    def close(self) -> None:
        self.socket.close()


class Running:
    """Servers in a folder; whatever is started here is gone when the test is."""

    def __init__(self, home: Path, racks: str):
        self.home, self.clients, self.processes = home, [], []
        self.environment = {**os.environ, "NAFX_RACK_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.racks = home / "config" / "racks.toml"
        self.racks.parent.mkdir(parents=True)
        self.racks.write_text(racks)
        self.socket = home / "run" / "server.socket"

    def start(self, *arguments: str, attach: bool = True) -> Client | None:
        """A server; answers a client that has seen everything built."""
        command = [sys.executable, "-m", "tests.rack.fakes", "server", *arguments]
        self.process = subprocess.Popen(command, env=self.environment, start_new_session=True)
        self.processes.append(self.process)
        return self.attach() if attach else None

    def attach(self, ready: bool = True, **options) -> Client:
        def connect():
            assert self.process.poll() is None, "the server ended"
            try:
                return Client(self.socket, **options)
            except OSError:
                return None

        client = wait(connect)
        self.clients.append(client)
        if ready:
            client.view()
            if client.get("status")["audio"]["backend"] != "null" or "building" in str(client.get("status")["slots"]):
                client.ready()
        return client

    def lines(self, who: str, said: str = "") -> list[dict]:
        """What a child has been told."""
        try:
            lines = [json.loads(line) for line in (self.home / f"{who}.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return []
        return [line for line in lines if not said or line["said"] == said]

    def pid(self, who: str) -> int:
        return wait(lambda: self.lines(who))[-1]["pid"]

    def line(self, programs: list[str], fused: bool = False, after: int = 0) -> dict:
        """The newest line that the engine got, as soon as it has these programs."""

        def found():
            lines = self.lines("engine", "Line")[after:]
            fits = [x for x in lines if [Path(s["program"]).name.rpartition("-")[0] for s in x["slots"]] == programs]
            return [x for x in fits if bool(x["fused"]) == fused]

        return wait(found)[-1]

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
