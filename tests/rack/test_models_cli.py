"""`nafx-rack models`, as people and programs use it."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from rack import cli, models, paths
from rack.describe import ago, described, percent, size
from rack.jobs import grade
from rack.library import Library
from rack.scan import Reader

from .test_library import FAKE, write


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, a folder of captures, and a reader that needs no JAX."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(models, "Reader", lambda: Reader((sys.executable, "-c", FAKE)))
    facts = {"architecture": "LSTM 1x16", "sample_rate": 48000, "parameters": 1153}
    write(tmp_path / "amps" / "plexi.nam", **facts, gear="Marshall 1959", esr=0.004, licence="CC BY 4.0")
    write(tmp_path / "amps" / "twin.nam", **facts)
    write(tmp_path / "amps" / "sub" / "broken.nam", error="broken.nam: cut short; download it again")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(home, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(("models", *arguments))
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out.rstrip("\n"), err.rstrip("\n")

    return run


def test_scanning_a_folder_puts_it_into_the_library(run, home):
    code, out, _ = run("scan", "amps")
    assert code == 0 and out.startswith("2 models, 1 that cannot be played; read 3 files in ")
    write(home / "amps" / "new.nam", architecture="GRU 1x8")
    code, out, _ = run("scan", "--json")
    said = json.loads(out)
    assert code == 0 and (said["models"], said["in_all_broken"]) == (3, 1)
    assert run("scan", "nowhere")[::2] == (1, f"nafx-rack: {home}/nowhere: no such folder")
    assert run("scan", "--forget", "amps")[0] == 0 and run("list")[1] == ""
    code, _, err = run("scan", "--forget", "amps")
    assert code == 1 and "not a folder that was added" in err


def test_folders_of_racks_toml_are_scanned(run, home):
    paths.racks_path().parent.mkdir(parents=True)
    paths.racks_path().write_text(f'[library]\nfolders = ["{home}/amps"]\n[racks.one]\n')
    assert json.loads(run("scan", "--json")[1])["models"] == 2


def test_listing_and_searching(run, home):
    run("scan", "amps")
    shown = [line.split()[0] for line in run("list")[1].splitlines()]
    assert shown == [f"{home}/amps/plexi.nam", f"{home}/amps/twin.nam"]
    assert "LSTM 1x16 48 kHz" in run("list")[1]
    assert "broken.nam: cut short" in run("list", "--errors")[1] and run("list", "amps/sub")[1] == ""
    assert run("mark", "amps/twin.nam", "--favourite", "--tags", "clean loud", "--notes", "the good one")[0] == 0
    assert run("list", "--favourites")[1].strip().startswith(f"* {home}/amps/twin.nam")
    (found,) = json.loads(run("search", "--json", "#loud")[1])
    assert found["path"].endswith("twin.nam") and found["favourite"] is True and found["tags"] == ["clean", "loud"]
    assert run("mark", "amps/twin.nam", "--no-favourite")[0] == 0 and run("list", "--favourites")[1] == ""
    assert "plexi.nam" in run("search", "marsh", "ple")[1]
    assert run("search", "nothing like it") == (1, "", "")
    assert run("list", "--recent") == (0, "", "")
    code, _, err = run("mark", "amps/gone.nam", "--favourite")
    assert code == 1 and "not in the library" in err


def test_info(run, home):
    run("scan", "amps")
    with Library(paths.library_path()) as library:
        library.measured(f"{home}/amps/twin.nam", 64, 2000.0)
    code, out, _ = run("info", "amps/plexi.nam")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and lines["gear"] == "Marshall 1959" and lines["network"] == "LSTM 1x16, 1,153 parameters"
    assert lines["cost"].startswith("about 9.6 % of a core") and lines["error"] == "ESR 0.004, very close"
    assert json.loads(run("info", "--json", "amps/twin.nam")[1])["cost_ns"] == 2000.0
    code, out, _ = run("info", "amps/sub/broken.nam")
    assert code == 1 and "download it again" in out
    fresh = write(home / "elsewhere.nam", architecture="TCN", author="A. Body")
    assert "A. Body" in run("info", str(fresh))[1], "a file need not be in the library"
    (home / "song.txt").write_text("la la")
    assert run("info", "song.txt")[2] == f"nafx-rack: {home}/song.txt: not a model file"
    assert "No such file" in run("info", "gone.nam")[2]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["search"], ["info"], ["list", "--recent", "--errors"], ["export", "a", "b"]]
)
def test_wrong_arguments_get_one_line(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 0 and err.startswith("nafx-rack")


@pytest.mark.engine
def test_checking_loads_for_real(run, home, fixtures):
    good = home / "TS9.json"
    shutil.copy(fixtures / "models/neuralpi/TS9.json", good)
    bad = home / "bad.json"
    bad.write_bytes(good.read_bytes()[:2000])
    code, out, _ = run("check", "--json", str(good), str(bad))
    first, second = json.loads(out)
    assert code == 1 and first["ok"] and first["cost_ns"] > 0 and first["peak_db"] > -60 and "drive" in first["knobs"]
    assert not second["ok"] and "complete" in second["error"]


@pytest.mark.engine
def test_a_self_test_is_told(run, fixtures):
    (capture,) = (fixtures / "models/aidax").glob("*blues_deluxe*")
    code, out, _ = run("check", str(capture))
    assert code == 0 and "self-test passed" in out and "LSTM 1x12" in out


@pytest.mark.engine
def test_exporting_writes_what_another_program_reads(run, home, fixtures):
    source = str(fixtures / "models/neuralpi/TS9.json")
    code, out, _ = run("export", source, "--to", "guitarml", "ts9.json")
    assert (code, out) == (0, f"{home}/ts9.json")
    written = json.loads((home / "ts9.json").read_text())["model_data"]
    assert (written["unit_type"], written["hidden_size"]) == ("LSTM", 20)
    code, _, err = run("export", source, "--to", "pedal", "x.json")
    assert code == 1 and "there are: aidax, guitarml, nam, rtneural" in err
    code, _, err = run("export", "ts9.json", "--to", "guitarml", "ts9.json")
    assert code == 1 and "is the file itself" in err
    code, _, err = run("export", "gone.nam", "--to", "guitarml", "x.json")
    assert code == 1 and "No such file" in err


def test_in_plain_words(home):
    words = ["very close", "close", "recognisable", "rough", "far off", ""]
    assert [grade(esr) for esr in (0.001, 0.02, 0.1, 0.3, 0.9, None)] == words
    assert [percent(v) for v in (0.123, 1.234, 12.34)] == ["0.12 %", "1.2 %", "12 %"]
    assert [size(n) for n in (12, 1234, 123_456, 2_345_678)] == ["12 bytes", "1.2 KB", "123 KB", "2.3 MB"]
    assert [ago(0, now) for now in (5, 60, 7300, 200_000)] == ["just now", "1 minute ago", "2 hours ago", "2 days ago"]
    entry = models._read_now(str(home / "amps" / "plexi.nam"))
    assert all(words and label for label, words in described(entry))
