"""The library and its scanner: what is found, what follows a file that moves, what is found again by a few letters."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rack import protocol
from rack.fuzzy import fuzzy
from rack.library import BROKEN, MODEL, OTHER, Library, LibraryError, Reading, Signature, match
from rack.scan import Reader, Summary, outermost, scan, walk

ROOT = Path(__file__).parents[2]
# A reader without JAX: it takes a file's word for what it is, and does what the file says.
FAKE = """
import hashlib, json, os, sys, time
for line in sys.stdin:
    path = json.loads(line)
    data = open(path, "rb").read()
    words = json.loads(data) if data[:1] == b"{" else {}
    if words.get("ends"): os._exit(3)
    if words.get("hangs"): time.sleep(60)
    answer = {"path": path, "hash": hashlib.sha256(data).hexdigest()[:16], "other": data[:1] != b"{"}
    answer |= {"format": "a test capture", "facts": words} if "error" not in words else {"error": words["error"]}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def library(tmp_path):
    with Library(tmp_path / "library.sqlite") as library:
        yield library


@pytest.fixture
def models(tmp_path):
    """A folder with three captures, one of them in a folder of its own, and a text."""
    folder = tmp_path / "models"
    write(folder / "Plexi_Lead.nam", architecture="LSTM 1x16", sample_rate=48000, author="Jané Doe")
    write(folder / "rat.nam", architecture="LSTM 1x40", sample_rate=44100)
    write(folder / "clean amps" / "twin.json", architecture="LSTM 1x16", sample_rate=48000, gear="Fender Twin Reverb")
    (folder / "readme.txt").write_text("none of these is a model")
    return folder


def write(path: Path, **facts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts | {"name": path.stem}))
    return path


def look(library: Library, *folders: Path, patience_s: float = 20.0, **more) -> Summary:
    with Reader((sys.executable, "-c", FAKE), patience_s) as reader:
        return scan(library, map(str, folders), reader, **more)


def names(entries) -> list[str]:
    return [entry.name for entry in entries]


def test_a_scan_finds_what_is_there_and_reads_only_what_is_new(library, models):
    first = look(library, models)
    assert (first.files, first.read, first.gone, first.broken) == (4, 4, 0, 0)
    assert library.counts() == (3, 0) and library.tree() == {str(models): 2, str(models / "clean amps"): 1}
    twin = library.entry(str(models / "clean amps" / "twin.json"))
    assert twin and twin.architecture == "LSTM 1x16" and twin.facts["gear"] == "Fender Twin Reverb"
    assert look(library, models).read == 0
    write(models / "rat.nam", architecture="LSTM 1x8")
    (models / "Plexi_Lead.nam").unlink()
    again = look(library, models)
    assert (again.read, again.gone) == (1, 1)
    assert names(library.below(str(models), only=True)) == ["rat.nam"]
    assert library.entry(str(models / "rat.nam")).architecture == "LSTM 1x8"
    shutil.rmtree(models / "clean amps")
    look(library, models)
    assert names(library.below()) == ["rat.nam"] and not library.search("twin")


def test_a_change_is_told_by_size_time_and_inode(library, models):
    look(library, models)
    path = models / "rat.nam"
    then = path.stat()
    other = write(models / "new.nam", architecture="LSTM 1x99", sample_rate=44100)
    other.write_text(other.read_text().replace("new", "rat"))
    assert other.stat().st_size == then.st_size
    os.utime(other, ns=(then.st_atime_ns, then.st_mtime_ns))
    os.replace(other, path)
    assert look(library, models).read == 1 and library.entry(str(path)).architecture == "LSTM 1x99"


def test_marks_follow_what_is_in_a_file(library, models):
    look(library, models)
    rat, moved = models / "rat.nam", models / "clean amps" / "vermin.nam"
    library.mark(str(rat), favourite=True, tags="dirty lead", notes="for the second verse")
    library.use(str(rat))
    library.measured(str(rat), 64, 123.0)
    os.rename(rat, moved)
    look(library, models)
    entry = library.entry(str(moved))
    assert entry.favourite and entry.tags == "dirty lead" and entry.notes and entry.used > 0 and entry.cost_ns == 123.0
    assert names(library.favourites()) == names(library.recent()) == ["vermin.nam"]
    assert names(library.search("#dirt")) == ["vermin.nam"] and not library.search("#vermin")
    moved.write_text(moved.read_text() + " ")  # exported once more, in place
    look(library, models)
    assert library.entry(str(moved)).favourite
    moved.unlink()
    look(library, models)
    assert not library.favourites()
    write(rat, architecture="other")
    with pytest.raises(LibraryError, match="not in the library"):
        library.mark(str(rat), favourite=True)
    library.use(str(rat))  # which nobody need know


def test_a_copy_shares_the_marks_and_keeps_them_when_the_other_changes(library, models):
    copy = models / "copy.nam"
    shutil.copy(models / "rat.nam", copy)
    look(library, models)
    library.mark(str(copy), favourite=True)
    assert names(library.favourites()) == ["copy.nam", "rat.nam"]
    write(copy, architecture="other")
    look(library, models)
    assert names(library.favourites()) == ["rat.nam"]


def test_a_file_that_ends_or_hangs_the_reader_costs_only_itself(library, models):
    write(models / "a.nam", ends=1)
    write(models / "b.nam", error="b.nam: broken JSON; download it again")
    write(models / "c.nam", hangs=1)
    summary = look(library, models, patience_s=1.0)
    assert summary.read == 7 and summary.broken == 3 and library.counts() == (3, 3)
    errors = {entry.name: entry.error for entry in library.broken()}
    assert "ends the reader" in errors["a.nam"] and "too long" in errors["c.nam"] and "download" in errors["b.nam"]
    assert look(library, models, patience_s=1.0).read == 0, "what is broken is not tried again until it changes"
    assert library.playable(str(models / "b.nam")) == [str(models / "Plexi_Lead.nam"), str(models / "rat.nam")]


def test_what_is_no_plain_file_is_left_alone(library, models, tmp_path):
    os.mkfifo(models / "pipe.nam")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(models / "socket.nam"))
    (models / "round").symlink_to(models)
    (models / "gone.nam").symlink_to(models / "nowhere")
    (models / "elsewhere").symlink_to(tmp_path / "else")
    write(tmp_path / "else" / "linked.nam", architecture="x")
    write(models / ".trash" / "old.nam", architecture="x")
    Path(os.fsdecode(os.fsencode(models) + b"/\xff.nam")).write_text("{}")
    summary = look(library, models)
    server.close()
    assert summary.files == 5
    assert sorted(names(library.below())) == ["Plexi_Lead.nam", "linked.nam", "rat.nam", "twin.json"]
    assert len(summary.notes) == 1 and "UTF-8" in summary.notes[0]
    assert look(library, tmp_path / "nowhere").notes[0].endswith("No such file or directory")


def test_a_scan_can_be_stopped_and_taken_up(library, models):
    stops = iter([False, True])
    assert look(library, models, stop=lambda: next(stops)).read == 2
    assert look(library, models).read == 2 and library.counts() == (3, 0)


def test_searching(library, models):
    look(library, models)
    library.mark(str(models / "rat.nam"), tags="lead")
    for text, found in {
        "ple": ["Plexi_Lead.nam"],
        "LEAD": ["Plexi_Lead.nam", "rat.nam"],
        "lead ra": ["rat.nam"],
        "jane": ["Plexi_Lead.nam"],
        "clean": ["twin.json"],
        "fend twi rev": ["twin.json"],
        "lstm 1x16 lea": ["Plexi_Lead.nam"],
        "xyz": [],
        "": [],
        '" OR *': [],
        "NEAR(a b)": [],
    }.items():
        assert names(library.search(text)) == found, text
    library.mark(str(models / "rat.nam"), favourite=True)
    assert names(library.search("lead"))[0] == "rat.nam"
    assert match("a-b #c") == '"a"* AND "b"* AND marks : "c"*'


def test_words_within_a_name_are_found(library, tmp_path):
    write(tmp_path / "m" / "TS9DriveKnob2.nam", architecture="x")
    look(library, tmp_path / "m")
    assert library.search("drive") and library.search("knob") and library.search("ts9d") and library.search("knob 2")


def test_fuzzy_prefers_what_is_close_together():
    found = ["deluxe reverb", "dirty long reverb room", "d-r", "reverb", "drum"]
    assert [found[i] for i in fuzzy("dr", found)][:2] == ["drum", "d-r"] and len(fuzzy("dr", found)) == 4
    assert fuzzy("dlxrv", found) == [0] and fuzzy("", found) == [] and fuzzy("xyz", found) == []
    assert fuzzy("[^(", ["a[b^c(d"]) == [0]
    began = time.process_time()
    fuzzy("a" * 31 + "b", ["a" * 250] * 1000)
    assert time.process_time() - began < 5.0  # in the worst case, which would else take for ever


def test_costs_go_for_all_of_one_architecture(library, models):
    look(library, models)
    library.measured(str(models / "Plexi_Lead.nam"), 64, 500.0)
    library.measured(str(models / "Plexi_Lead.nam"), 512, 300.0)
    library.measured(str(models / "nowhere.nam"), 64, 1.0)
    assert library.costs() == {("a test capture", "LSTM 1x16", 48000): 300.0}
    assert library.entry(str(models / "clean amps" / "twin.json")).cost_ns is None


def test_folders_added_by_hand(library, models):
    library.add_folder(str(models))
    library.add_folder(str(models))
    look(library, models)
    assert library.folders() == [str(models)] and library.remove_folder(str(models)) and library.counts() == (0, 0)
    assert not library.remove_folder(str(models))
    assert outermost(["/a/b", "/a/", "/ab", "/a/c"]) == ["/a", "/ab"]


def test_two_may_write_and_others_read(library, models):
    with Library(library.path) as other:
        stamp = other.stamp()
        look(library, models)
        assert other.stamp() != stamp and len(other.below()) == 3
        other.mark(str(models / "rat.nam"), favourite=True)
    assert library.entry(str(models / "rat.nam")).favourite


def test_another_version_makes_the_index_anew_and_keeps_the_marks(library, models):
    look(library, models)
    library.mark(str(models / "rat.nam"), tags="kept")
    library.close()
    with sqlite3.connect(library.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with Library(library.path) as again:
        assert again.counts() == (0, 0)
        look(again, models)
        assert again.entry(str(models / "rat.nam")).tags == "kept"


def test_a_file_that_is_no_library_is_said(tmp_path):
    path = tmp_path / "library.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LibraryError, match="move it away"):
        Library(path)


def test_a_folder_of_nam_0_4_is_one_model(tmp_path):
    for name in ("config.json", "weights.npy", "photo.jpg"):
        (tmp_path / "m" / "amp").mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / "amp" / name).write_text("x")
    assert [path for path, _ in walk(str(tmp_path / "m"), [])] == [
        str(tmp_path / "m" / "amp"), str(tmp_path / "m" / "amp" / "photo.jpg")
    ]  # fmt: skip


def test_ten_thousand_files(library):
    """The index alone; reading them is the readers' affair. In time of the processor: the machine may be busy."""
    signature = Signature(1000, 1, 1)
    words = "plexi twin rat deluxe vox tweed boost clean crunch lead fuzz bass".split()
    facts = {"architecture": "LSTM 1x40", "sample_rate": 48000, "gear": "a pedal"}
    began = time.process_time()
    for pack in range(100):
        library.put(
            (signature, Reading(f"/m/{pack}/{words[n % 12]} {words[n % 7]} {n}.nam", f"{pack}-{n}", "NAM", facts))
            for n in range(100)
        )
    assert time.process_time() - began < 20
    times = []
    for text in ("p", "plexi", "twin rat 4", "lstm 40", "pedal", "zzz"):
        began = time.process_time()
        found = library.search(text)
        fuzzy(text, names(found))
        times.append(time.process_time() - began)
    assert sorted(times)[-2] < 0.05, times
    assert len(library.below()) == 10_000


# --- The real reader --------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_real_reader_tells_models_from_everything_else(library, tmp_path, fixtures):
    folder = tmp_path / "m"
    folder.mkdir()
    good = fixtures / "models/neuralpi/TS9.json"
    shutil.copy(good, folder / "TS9.json")
    (folder / "packed.dat").write_bytes(gzip.compress(good.read_bytes()))
    (folder / "cut.json").write_bytes(good.read_bytes()[:5000])
    (folder / "package.json").write_text('{"name": "no model"}')
    (folder / "song.wav").write_bytes(b"RIFF" + bytes(1000))
    (folder / "wrong.nam").write_bytes(b"not at all")
    (folder / "bomb.nam").write_bytes(gzip.compress(bytes(300 << 20)))
    with Reader() as reader:
        scan(library, [str(folder)], reader)
    kinds = {path.name: None for path in folder.iterdir()}
    for name in kinds:
        row = library._db.execute("SELECT kind, error FROM files WHERE name = ?", (name,)).fetchone()
        kinds[name] = row
    assert kinds["song.wav"][0] == kinds["package.json"][0] == OTHER
    assert kinds["cut.json"][0] == BROKEN and "complete" in kinds["cut.json"][1]
    assert kinds["wrong.nam"][0] == BROKEN and kinds["bomb.nam"][0] == BROKEN
    assert kinds["TS9.json"][0] == kinds["packed.dat"][0] == MODEL, kinds
    entry = library.entry(str(folder / "TS9.json"))
    assert "GuitarML" in entry.format and entry.facts


@pytest.mark.engine
def test_the_process_follows_its_folders(tmp_path, models, monkeypatch):
    """Told of a folder it reads it; what comes and goes later it finds by itself."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path / "home"))
    ours, theirs = socket.socketpair()
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from rack import scan; scan.GLANCE_S = 0.05;"
        f"scan.Reader.__init__.__defaults__ = ((sys.executable, '-c', {FAKE!r}), 20.0); sys.exit(scan.main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
    theirs.close()
    try:
        ours.settimeout(30)
        reader = protocol.Reader(protocol.FromScanner)
        ours.sendall(protocol.frame(protocol.Watch((str(models),))))
        assert reader.receive(ours) == protocol.Scanned(4, 4, 0)
        write(models / "more" / "new.nam", architecture="x")
        assert reader.receive(ours).read == 1
        shutil.rmtree(models)
        assert reader.receive(ours).files == 0
    finally:
        ours.close()
        assert process.wait(20) == 0
