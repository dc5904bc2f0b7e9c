"""A small part of `prove_parsers`: broken files of every family do nothing but be refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.jaxmodels import broken, prove_parsers


def test_hundreds_of_broken_files_do_no_harm(tmp_path):
    """How long each takes is for `make fuzz` to judge, which has the machine to itself."""
    files, watch = broken.seeds(tmp_path), prove_parsers.Watch(tmp_path, most_seconds=60.0)
    small = {name: content for name, content in files.items() if len(content) < 50_000}
    prove_parsers.warm(watch, small)
    found = prove_parsers.run(watch, small, seed=1, first=0, count=500, note=lambda *what: None)
    assert not found["failures"]
    assert sum(found["counts"].values()) == 500
    assert sum(n for kind, n in found["counts"].items() if kind.endswith("loaded")) > 20


def test_the_same_case_is_the_same_file(tmp_path):
    files = broken.seeds(tmp_path)
    assert all(broken.case(3, n, files) == broken.case(3, n, files) for n in range(20))


def test_harm_is_seen(tmp_path, monkeypatch):
    """Readers that misbehave in each of the ways that are watched for."""
    watch = prove_parsers.Watch(tmp_path)

    def start(path):
        subprocess.run([sys.executable, "-c", ""], check=True)

    def write(path):
        (tmp_path / "new").write_text("x")

    def canary(path):
        watch.canary.touch()

    def loud(path):
        raise prove_parsers.ModelFileError("x" * 3000)

    def wrong(path):
        raise ZeroDivisionError("oh")

    for reader, message in (
        (start, "subprocess.Popen"),
        (write, "open"),
        (canary, "canary"),
        (loud, "an error of 3000 characters"),
        (lambda path: [float("nan")], "not finite"),
        (wrong, "oh"),
    ):
        monkeypatch.setattr(prove_parsers, "load", reader)
        monkeypatch.setattr(prove_parsers, "inspect", lambda path: None)
        with pytest.raises((prove_parsers.Harm, ZeroDivisionError), match=message):
            watch(b"{}", "a.json")
        watch.canary.unlink(missing_ok=True)


@pytest.mark.slow
def test_the_command_prints_a_summary():
    command = [sys.executable, "-m", "tests.jaxmodels.prove_parsers", "--cases", "40", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["cases"] == found["loaded"] + found["refused"] == 40 and found["failed"] == 0
