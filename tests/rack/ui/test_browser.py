"""The library page: folders, search, details, what Enter and the letters do, and that it follows the library."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from textual.widgets import Input

from rack import paths
from rack.library import Library, Reading, Signature
from rack.ui.art.browser import details, folders
from rack.ui.art.glyphs import UNICODE
from rack.ui.screens.browser import BrowserPage
from rack.ui.screens.dialogs import Ask
from rack.ui.widgets.shelves import Files

from .fake import lead
from .stage import Stage, stage
from .test_windows import closed, opened

TOP = "/music/captures"
FACTS = {"architecture": "LSTM 1x16", "sample_rate": 48000, "parameters": 1153}
CAPTURES = {
    f"{TOP}/amps/plexi lead.nam": {**FACTS, "gear": "Marshall 1959", "esr": 0.004, "author": "J. Doe"},
    f"{TOP}/amps/plexi rhythm.nam": FACTS,
    f"{TOP}/amps/twin clean.nam": {**FACTS, "architecture": "WaveNet 16x10 + 8x10"},
    f"{TOP}/pedals/RatDistortion.json": {"architecture": "LSTM 1x40", "sample_rate": 44100, "knobs": ["dirt"]},
}
BROKEN = f"{TOP}/pedals/muff.nam"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library with a few captures, as the scanner leaves it."""
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    with Library(paths.library_path()) as library:
        put(library, CAPTURES)
        error = "muff.nam: broken JSON; is the file complete?"
        library.put([(Signature(9, 1, 1), Reading(BROKEN, "muff", error=error))])
        library.mark(f"{TOP}/amps/twin clean.nam", favourite=True, tags="quiet")
        library.measured(f"{TOP}/amps/plexi lead.nam", 64, 2000.0)
        yield library


def put(library: Library, captures: dict) -> None:
    readings = (Reading(path, path, "a NAM capture (.nam)", facts) for path, facts in captures.items())
    library.put((Signature(285_000, 1, 1), reading) for reading in readings)


def playing(model: str):
    view = lead()
    return replace(view, slots=tuple(replace(s, model=model) if s.model else s for s in view.slots))


async def page(s: Stage, slot: str = "plexi") -> BrowserPage:
    """The library page, opened with a slot in focus."""
    await s.on_focus("plexi.drive" if slot == "plexi" else "eq.mid")
    await s.press("L")
    await s.until(lambda: isinstance(s.app.focused, Files), "the files have the focus")
    found = s.screen.query_one(BrowserPage)
    await s.until(lambda: found.files.lines, "files")
    await s.pilot.pause()
    return found


def cursor(found: BrowserPage) -> str:
    return found.files.entry.name if found.files.entry else ""


def shown(found: BrowserPage) -> list[str]:
    return [entry.name for entry in found.files.lines]


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (140, 40)])
async def test_everything_is_in_sight(library, size):
    async with stage(playing(f"{TOP}/amps/plexi lead.nam"), size=size) as s:
        found = await page(s)
        for widget in (found.line, found.folders, found.files, found.details):
            assert s.screen.region.contains_region(widget.region) and widget.region, widget
        assert cursor(found) == "plexi lead.nam", "the cursor begins on what plays"
        assert "amps" in s.text and "Marshall 1959" in s.text and "4 models, 1 broken" in s.text
        assert "9.6 %" in s.text and "favourites" in s.text
        if size[0] == 140:
            assert "ESR 0.004, very close" in s.text and "9.6 % of a core" in s.text and "J. Doe" in s.text
        assert all(len(line) == size[0] for line in s.text.splitlines())


async def test_enter_plays_a_file_in_the_slot_in_focus(library):
    async with stage(playing(f"{TOP}/amps/plexi lead.nam")) as s:
        found = await page(s)
        await s.press("down", "enter")
        assert await s.told("plexi.model") == f"{TOP}/amps/plexi rhythm.nam"
        assert s.server.last("library.audition") == shown_paths(found), "all of them, since they lie in two folders"
        await s.until(lambda: s.status == "plexi: plexi rhythm.nam")
        await s.until(lambda: found.files.playing == f"{TOP}/amps/plexi rhythm.nam")
        assert s.screen.page == "library", "it stays open: the next one is a key away"
        await s.press("y")
        assert (await s.told("slots.add"))["model"] == f"{TOP}/amps/plexi rhythm.nam"


def shown_paths(found: BrowserPage) -> list[str]:
    return [entry.path for entry in found.files.lines if not entry.error]


async def test_a_slot_that_plays_no_file_gets_a_neighbour(library):
    async with stage() as s:
        await page(s, "eq")
        await s.press("enter")
        value = await s.told("slots.add")
        assert value["index"] == 3 and value["type"] == "model"


async def test_the_tree_narrows_to_a_folder(library):
    async with stage() as s:
        found = await page(s)
        assert [(line.name, line.count) for line in found.folders.lines] == [
            ("everything", 5), ("favourites", 1), ("recent", 0), ("broken", 1), (TOP, 5), ("amps", 3), ("pedals", 2),
        ]  # fmt: skip
        found.folders.focus()
        await s.press("down")
        await s.until(lambda: shown(found) == ["twin clean.nam"])
        await s.press("down")
        await s.until(lambda: "Nothing here yet" in s.text)
        await s.press("down")
        await s.until(lambda: shown(found) == ["muff.nam"])
        assert "broken JSON" in s.text
        await s.press("end", "up", "enter")
        assert s.app.focused is found.files and shown(found)[0] == "plexi lead.nam" and len(shown(found)) == 3
        await s.press("enter")
        await s.told("plexi.model")
        assert s.server.last("library.audition") == [], "[ and ] go through the folder"


async def test_search(library):
    async with stage() as s:
        found = await page(s)
        await s.press("slash", *"ple")
        await s.until(lambda: sorted(shown(found)) == ["plexi lead.nam", "plexi rhythm.nam"] and "2 found" in s.text)
        await s.press("down")
        assert isinstance(s.app.focused, Input) and cursor(found) == shown(found)[1]
        await s.press("enter")
        assert await s.told("plexi.model") == found.files.lines[1].path
        assert s.server.last("library.audition") == [entry.path for entry in found.files.lines]
        assert s.app.focused is found.files
        await s.press("slash", *" rh")
        await s.until(lambda: shown(found) == ["plexi rhythm.nam"])
        found.line.value = "rtdst"  # letters in this order
        await s.until(lambda: shown(found) == ["RatDistortion.json"])
        found.line.value = "#quiet"
        await s.until(lambda: shown(found) == ["twin clean.nam"])
        found.line.value = "nothing like it"
        await s.until(lambda: "Nothing is called so" in s.text)
        await s.press("escape")
        assert s.app.focused is found.files
        await s.press("escape")
        await s.until(lambda: len(shown(found)) == 5)
        await s.press("escape")
        await s.until(lambda: s.screen.page == "rack")


async def test_marks_are_sent_to_the_server(library):
    async with stage(playing(f"{TOP}/amps/twin clean.nam")) as s:
        found = await page(s)
        path = f"{TOP}/amps/twin clean.nam"
        await s.press("f")
        assert await s.told("library.mark") == {"path": path, "favourite": False}
        await s.press("t")
        await opened(s, Ask)
        assert s.app.screen.query_one(Input).value == "quiet"
        s.app.screen.query_one(Input).value = "quiet jazz"
        await s.press("enter")
        await closed(s)
        await s.until(lambda: s.server.last("library.mark") == {"path": path, "tags": "quiet jazz"})
        await s.press("n")
        await opened(s, Ask)
        await s.press("escape")
        await closed(s)
        assert sum(message.key == "library.mark" for message in s.server.sets) == 2
        found.line.focus()
        await s.press("f")
        assert found.line.value == "f", "letters are letters while one types"


async def test_a_folder_is_added(library, tmp_path):
    async with stage() as s:
        await page(s)
        await s.press("F")
        await opened(s, Ask)
        s.app.screen.query_one(Input).value = str(tmp_path / "nowhere")
        await s.press("enter")
        await s.until(lambda: "such folder" in s.text)
        s.app.screen.query_one(Input).value = str(tmp_path)
        await s.press("enter")
        assert await s.told("library.add") == str(tmp_path)


async def test_the_page_follows_the_library_and_keeps_its_place(library):
    async with stage(playing(f"{TOP}/amps/plexi rhythm.nam")) as s:
        found = await page(s)
        put(library, {f"{TOP}/amps/a new one.nam": FACTS})
        await s.until(lambda: "a new one.nam" in shown(found))
        assert cursor(found) == "plexi rhythm.nam"
        library.mark(f"{TOP}/amps/plexi rhythm.nam", notes="mine")
        await s.until(lambda: "mine" in s.text)
        library.forget(CAPTURES)
        await s.until(lambda: len(shown(found)) == 2)


async def test_a_search_counts_what_the_scanner_finds_meanwhile(library):
    async with stage() as s:
        found = await page(s)
        await s.press("slash", *"new")
        await s.until(lambda: "0 found" in s.text)
        put(library, {f"{TOP}/amps/a new one.nam": FACTS})
        await s.until(lambda: shown(found) == ["a new one.nam"] and "1 found" in s.text)


async def test_the_cursor_goes_along_with_the_next_and_the_previous(library):
    async with stage(playing(f"{TOP}/amps/plexi lead.nam")) as s:
        found = await page(s)
        await s.press("]")
        assert await s.told("plexi.model.step") == 1
        s.server.show(playing(f"{TOP}/amps/plexi rhythm.nam"))
        await s.until(lambda: cursor(found) == "plexi rhythm.nam")
        await s.press("home")
        s.server.show(playing(f"{TOP}/amps/twin clean.nam"))
        await s.until(lambda: found.files.playing.endswith("twin clean.nam"))
        assert cursor(found) == "plexi lead.nam", "unless it stood elsewhere"
        assert await s.told("library.ahead") in CAPTURES, "what the cursor rests on is made ahead"


async def test_steps_in_a_row_are_one_gesture(library):
    async with stage() as s:
        await s.on_focus("plexi.drive")
        await s.press("]", "]", "[")
        await s.until(lambda: len(s.server.sets) == 3)
        assert len({message.gesture for message in s.server.sets}) == 1 and s.server.sets[0].gesture


async def test_an_empty_library_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    async with stage() as s:
        await s.press("L")
        await s.until(lambda: "No model files yet" in s.text and "F adds a folder" in s.text)
        await s.press("enter", "f", "t")
        assert not [message for message in s.server.sets if message.key != "library.ahead"]


async def test_a_broken_library_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    paths.library_path().parent.mkdir(parents=True)
    paths.library_path().write_bytes(b"nothing of that kind" * 99)
    async with stage(size=(140, 40)) as s:
        await s.press("L")
        await s.until(lambda: "cannot be used" in s.text)


async def test_typing_among_ten_thousand_files_is_quick(library):
    many = {f"{TOP}/{n % 90}/{word} {n}.nam": FACTS for n in range(10_000) for word in [("vox", "ac30", "jcm")[n % 3]]}
    put(library, many)
    async with stage() as s:
        found = await page(s)
        times = []
        for text in ("v", "vo", "vox 99", "jc8", "zz"):
            began = time.process_time()
            found.line.value = text
            found._found()
            times.append(time.process_time() - began)
        assert sorted(times)[len(times) // 2] < 0.1, times  # half of that alone


def test_folders_that_only_lead_on_are_joined():
    lines = folders({"/a/b/c": 2, "/a/b/c/d/e": 1, "/a/x": 3, "/z": 1})
    assert [(line.name, line.depth, line.count, line.path) for line in lines] == [
        ("/a", 0, 6, "/a"),
        ("b/c", 1, 3, "/a/b/c"),
        ("d/e", 2, 1, "/a/b/c/d/e"),
        ("x", 1, 3, "/a/x"),
        ("/z", 0, 1, "/z"),
    ]


def test_details_fit_what_room_there_is(library):
    entry = library.entry(f"{TOP}/amps/plexi lead.nam")
    pairs = [("gear", "Marshall"), ("note", "so many words " * 9), ("rate", "48 kHz")]
    for height in (4, 7, 30):
        rows = details(entry, pairs, 40, height, UNICODE)
        assert len(rows) <= height and all(sum(len(text) for text, _ in row) <= 40 for row in rows)
        assert "plexi lead.nam" in rows[0][0][0]
