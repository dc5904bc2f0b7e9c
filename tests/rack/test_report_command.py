"""`nafx-rack report`: what it passes on is what the reporter takes, and records become lines."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from rack import jobs, train_report
from rack.cli import main
from trainer import charts, report


@pytest.fixture
def started(monkeypatch):
    """Command lines that would have been run; each answers with two records and a status."""
    commands: list[list[str]] = []

    def popen(command, **options):
        commands.append(command)
        lines = (
            '{"event": "measuring", "run": "a"}\n{"event": "report", "page": "p.html", "folder": "", "pictures": []}\n'
        )
        return SimpleNamespace(stdout=io.StringIO(lines), wait=lambda: 3)

    monkeypatch.setattr(train_report.subprocess, "Popen", popen)
    return commands


def test_the_command_starts_the_reporter(started, capsys):
    words = ["report", "a.toml", "b.nafx", "--out", "p.html", "--recordings", "r", "--grid", "5", "--no-png"]
    assert main(words) == 3
    assert started[0][1:3] == ["-m", "trainer.report"]
    taken = report.parser().parse_args(started[0][3:])
    assert [str(run) for run in taken.runs] == ["a.toml", "b.nafx"] and str(taken.out) == "p.html"
    assert (str(taken.recordings), taken.grid, taken.no_png) == ("r", 5, True)
    assert capsys.readouterr().out.splitlines() == ["measuring a", "done: p.html"]
    assert main(["report", "--json", "--", "-odd.nafx"]) == 3
    assert str(report.parser().parse_args(started[1][3:]).runs[0]) == "-odd.nafx"
    assert capsys.readouterr().out.startswith('{"event": "measuring"')


def test_records_are_lines_for_people():
    assert train_report.said({"event": "missing", "run": "klon", "text": "No log."}) == "klon: No log."
    assert train_report.said({"event": "missing", "run": "", "text": "No Pillow."}) == "No Pillow."
    done = {"event": "report", "page": "p.html", "folder": "p-figures", "pictures": ["a.png", "b.png"]}
    assert train_report.said(done) == "done: p.html, and 2 pictures in p-figures"


def test_the_page_grades_as_the_trainer_does():
    assert charts.GRADES == jobs.GRADES
