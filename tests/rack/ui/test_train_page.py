"""The Train page against the fake server: what it shows, what its keys send, and what it asks before a job begins."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from rack.jobs import Job, JobLine
from rack.protocol import View
from rack.ui.screens.learn import Going, NewJobForm, Tell
from rack.ui.screens.train import TrainPage
from rack.ui.widgets.queue import Queue

from .fake import lead
from .jobs import history, jobs, teach
from .stage import Stage, stage


def full(**more) -> View:
    return replace(lead(), jobs=jobs(), **more)


async def opened(s: Stage) -> TrainPage:
    """The page, its first job highlighted and known."""
    teach(s.server)
    await s.press("T")
    await s.until(lambda: isinstance(s.app.focused, Queue), "the page")
    page = s.screen.train_page
    assert page is not None
    await s.until(lambda: not page.queue.lines or "spectrum" in page._known.get(page.queue.lines[0].id, {}), "figures")
    await s.pilot.pause()
    return page


GOLDEN = """\
+- train -----------------------------------------------------------+
|> play! x compares with the original, s stops and keeps the best   |
|> running  compressor   * steer     67 %  recognisable  0:40 left  |
|  queued   twin reverb    capture                                  |
|  done     fuzz           capture                       very close |
|  failed   hall           steer                                    |
| step 2,000, 1:20 so far, 0:40 left, 12x real time, SteerableTCN,~ |
| ESR 0.0365, recognisable   loss 0.3856   best 0.371 at step 1,850 |
| * plexi: checkpoint 7, the newest                                 |
|+- loss  training o, validation # --------------------------------+|"""


def words(line: str) -> list[str]:
    return line.strip("+-| ").split()


async def test_everything_about_a_job_is_on_a_small_screen_one_picture_at_a_time():
    async with stage(full(), glyphs="ascii") as s:
        page = await opened(s)
        lines = [line[:69] for line in s.text.splitlines()]
        assert [words(line) for line in lines[2:12]] == [words(line) for line in GOLDEN.splitlines()]
        assert "O best 0.371 at step 1,850" in s.text and "1 of 5: g shows the next" in s.text
        for said in ("ESR  validation", "hums at 50 Hz", "dry above, wet below", "farthest apart at 18.2 kHz"):
            await s.press("g")
            await s.until(lambda said=said: said in s.text, said)
            inside = s.screen.region
            shown = [w for w in page.query(".panel") if w.display]
            assert len(shown) == 1 and all(inside.contains_region(w.region) and w.region.height > 8 for w in shown)
        await s.press("g")
        await s.until(lambda: "best 0.371" in s.text)


async def test_all_pictures_are_on_a_large_screen():
    async with stage(full(), size=(140, 40)) as s:
        page = await opened(s)
        await s.until(lambda: "farthest apart" in s.text)
        for said in ("best 0.371 at step 1,850", "hums at 50 Hz", "dry above, wet below", "target dim, model bright"):
            assert said in s.text
        assert all(panel.region.height >= 8 for panel in page.query(".panel"))
        await s.press("g")
        await s.until(lambda: "ESR  validation" in s.text)
        await s.press("down", "down", "f", "up", "up")  # two runs over each other
        await s.until(lambda: "fuzz behind" in s.text)
        assert page.queue.held == "fuzz-3" and "stay behind the others" in s.status
        await s.press("down", "down", "f")
        await s.until(lambda: page.queue.held == "" and "behind" not in str(page.curves.border_title))


async def test_an_empty_page_says_what_to_do():
    async with stage() as s:
        page = await opened(s)
        assert "Nothing is being learned yet." in s.text and "n chooses two files" in s.text
        assert "n: choose a dry and a wet recording" in s.text and not any(p.display for p in page.query(".panel"))
        await s.press("s")
        assert "there is no job yet" in s.status
        s.server.show(full())
        await s.until(lambda: "compressor" in s.text and "running" in s.text)
        s.server.show(lead())
        await s.until(lambda: "Nothing is being learned yet." in s.text)


async def test_figures_move_the_curves_and_only_what_changes_is_drawn(monkeypatch):
    async with stage(full(), size=(140, 40)) as s:
        page = await opened(s)
        await s.until(lambda: "farthest apart" in s.text)
        painted: list[str] = []
        for widget in (page.queue, page.about, page.curves, page.checks, page.wave, page.bands, page.next):
            name = type(widget).__name__
            monkeypatch.setattr(widget, "refresh", lambda *r, name=name, **k: painted.append(name) if r else None)
        record = replace(history()[-1], step=2050, esr=0.008, validation=0.34, best=0.34, best_step=2050, eta=30.0)
        s.server.send(JobLine("comp-1", record))
        await s.until(lambda: page.job and page.job.esr == 0.008)
        assert page.curves.best == (2050, 0.34) and set(painted) == {"Queue", "About", "Curves"}
        painted.clear()
        s.server.send(JobLine("comp-1", record))  # the same once more
        s.server.send(JobLine("hall-4", record))  # another one, whose curves are not to be seen
        await s.until(lambda: page.queue.lines[3].esr == 0.008)
        assert set(painted) == {"Queue"} and len(page._known["comp-1"]["history"]) == 41


async def test_a_new_checkpoint_has_a_new_spectrum_and_the_cursor_stays_on_its_job():
    async with stage(full()) as s:
        page = await opened(s)
        await s.press("down", "down")
        await s.until(lambda: page.job and page.job.id == "fuzz-3" and "history" in page._known.get("fuzz-3", {}))
        first, *others = jobs()
        s.server.show(replace(full(), jobs=(*others, first)))
        await s.until(lambda: page.queue.lines[0].id == "twin-2")
        assert page.job and page.job.id == "fuzz-3" and page.queue.at == 1
        asked = page._looked
        newer = replace(jobs()[2], checkpoints=(replace(jobs()[2].checkpoints[0], number=8),))
        s.server.show(replace(full(), jobs=(newer,)))
        await s.until(lambda: page._looked != asked and page._looked[2] == 8)


async def test_keys_send_what_they_say():
    async with stage(full()) as s:
        page = await opened(s)
        for keys, key, value in (
            ("space", "jobs.pause", "comp-1"), ("s", "jobs.stop", "comp-1"), ("v", "jobs.reroll", "comp-1"),
            ("x", "jobs.compare", {"id": "comp-1", "what": "model"}),
            (">", "jobs.move", {"id": "comp-1", "place": 1}), ("<", "jobs.move", {"id": "comp-1", "place": 0}),
            ("[", "jobs.undo_checkpoint", {"id": "comp-1", "checkpoint": 6}),
            ("]", "jobs.listen", {"id": "comp-1", "slot": "plexi"}),
            ("enter", "jobs.listen", {"id": "comp-1", "slot": "noise_gate"}),
        ):  # fmt: skip
            s.server.sets.clear()
            await s.press(keys)
            assert await s.told(key) == value, keys
        assert not [message for message in s.server.sets if "bypass" in message.key]  # the page's keys are its own
        await s.press("down", "down", "down", "space")
        assert await s.told("jobs.resume") == "hall-4"
        await s.press("[")
        await s.until(lambda: "no checkpoint yet" in s.status)
        await s.press("<")
        await s.until(lambda: "waits or runs" in s.status)
        await s.press("up", "space")  # the one that is done
        await s.until(lambda: "c trains it longer" in s.status)
        await s.press("escape")
        await s.until(lambda: s.screen.page == "rack" and page.display is False)


async def test_listening_follows_stops_and_comparing_ends_with_escape():
    first = replace(jobs()[0], slot="noise_gate", comparing="model")
    async with stage(replace(lead(), jobs=(first,))) as s:
        await opened(s)
        assert "you hear the model; x: the original, Esc" in s.text
        await s.press("x")
        assert await s.told("jobs.compare") == {"id": "comp-1", "what": "original"}
        await s.press("escape")
        await s.until(lambda: s.server.last("jobs.compare") == {"id": "comp-1", "what": "off"})
        assert s.screen.page == "train"
        await s.press("enter")
        assert await s.told("jobs.listen") == {"id": "comp-1", "slot": ""}
        s.server.show(replace(lead(), jobs=(replace(first, playing=5, following=False),)))
        await s.until(lambda: "2 back, held" in s.text)
        await s.press("]")  # the one after it, not yet the newest
        assert await s.told("jobs.undo_checkpoint") == {"id": "comp-1", "checkpoint": 6}
        await s.press("enter")
        await s.until(lambda: s.server.last("jobs.listen") == {"id": "comp-1", "slot": "noise_gate"})


async def test_what_is_asked_first():
    async with stage(full()) as s:
        await opened(s)
        s.server.answers["jobs.save"] = "/models/lead comp.nafx"
        await s.press("w")
        await s.until(lambda: "save in the library as" in s.text and "ESR 0.0365 (recognisable)" in s.text)
        await s.press(*["backspace"] * 10, *"lead", "enter")
        assert await s.told("jobs.save") == {"id": "comp-1", "name": "lead"}
        await s.until(lambda: "saved as /models/lead comp.nafx" in s.status)
        await s.press("e", *"two", "enter")
        await s.until(lambda: "must be a number" in s.text)
        await s.press(*["backspace"] * 3, *"0.01", "enter")
        assert await s.told("jobs.target") == {"id": "comp-1", "esr": 0.01}
        await s.press("c", "backspace", *"12", "enter")
        assert await s.told("jobs.continue") == {"id": "comp-1", "minutes": 12.0}
        await s.press("delete")
        await s.until(lambda: "Remove compressor" in s.text)
        await s.press("n")
        await s.press("delete", "y")
        assert await s.told("jobs.remove") == "comp-1"
        s.server.refuse["jobs.stop"] = "comp-1 is over already"
        await s.press("s")
        await s.until(lambda: "comp-1 is over already" in s.status)


async def test_a_job_from_two_files(tmp_path: Path):
    for name in ("dry.wav", "wet.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    async with stage() as s:
        await opened(s)
        s.server.answers["jobs.check"] = {"findings": []}
        s.server.answers["jobs.start"] = "wet-1"
        await s.press("n", "enter")
        await s.until(lambda: isinstance(s.app.screen, NewJobForm))
        form = s.app.screen
        await s.press("end", *["backspace"] * 2)
        await s.paste(str(tmp_path / "dry.wav"))
        await s.press("enter")
        await s.until(lambda: "no such file" in s.text)  # the wet one
        await s.press("tab", "end", *["backspace"] * 2)
        await s.paste(str(tmp_path / "wet.wav"))
        await s.press("tab")
        await s.until(lambda: form.focused is not None and form.focused.id == "kind")
        await s.press("left")  # as it stands
        await s.until(lambda: "as it was set" in s.text and "quick" in s.text)
        await s.press("tab", "right", "tab", "right", "tab", *"3", "enter")
        assert await s.told("jobs.start") == {
            "recipe": "capture", "preset": "wavenet", "title": "wet", "slot": "plexi",
            "minutes": 3.0, "target_esr": 0.0, "dry": str(tmp_path / "dry.wav"), "wet": str(tmp_path / "wet.wav"),
        }  # fmt: skip
        assert await s.told("jobs.check") == {"dry": str(tmp_path / "dry.wav"), "wet": str(tmp_path / "wet.wav")}
        await s.until(lambda: "it is in the queue" in s.status)
        assert s.screen.rack.current == "plexi", "the slot that it plays in has the focus now"
        s.server.show(replace(lead(), jobs=(*jobs(), Job("wet-1", "capture", "wet"))))
        page = s.screen.train_page
        await s.until(lambda: page.job is not None and page.job.id == "wet-1", "the new one is highlighted")


async def test_a_recorded_pair_that_the_checks_refuse(tmp_path: Path):
    pair = {name: str(tmp_path / f"{name}.wav") for name in ("dry", "wet")}
    for path in pair.values():
        Path(path).write_bytes(b"RIFF")
    async with stage() as s:
        await opened(s)
        s.server.answers["jobs.record_pair"] = {"dry": "", "wet": "", "signal": "/takes/played.wav"}
        finding = {"kind": "silence", "severity": "bad", "message": "The wet recording is silent.", "reason": "",
                   "remedy": "Turn the device on."}  # fmt: skip
        s.server.answers["jobs.check"] = {"findings": [finding]}
        await s.press("n", "down", "down", "enter")  # a take of yours
        for title in ("recording dry", "now through the device"):
            await s.until(lambda title=title: isinstance(s.app.screen, Tell) and title in s.text, title)
            await s.press("enter")
        await s.until(lambda: isinstance(s.app.screen, Going) and "played.wav is played out" in s.text)
        await s.press("enter")  # ends nothing
        s.server.answers["jobs.record_pair"] = pair
        await s.until(lambda: isinstance(s.app.screen, NewJobForm))
        asked = [message.value["what"] for message in s.server.sets]
        assert asked[:3] == ["dry", "stop", "wet"] and set(asked[3:]) == {"look"}
        await s.press("enter")
        await s.until(lambda: "learn from it all the same?" in s.text and "Turn the device on." in s.text)
        await s.press("y")
        asked = await s.told("jobs.start")
        assert isinstance(asked, dict) and asked["force"] is True and asked["dry"] == pair["dry"]
        assert asked["recipe"] == "steer" and asked["slot"] == "noise_gate"


async def test_a_take_that_is_given_up_is_not_judged(tmp_path: Path):
    async with stage() as s:
        page = await opened(s)
        s.server.answers["jobs.record_pair"] = {"dry": "", "wet": ""}
        await s.press("n", "down", "down", "enter")
        await s.until(lambda: isinstance(s.app.screen, Tell) and "recording dry" in s.text)
        s.server.refuse["jobs.record_pair"] = "played.wav is silent"
        await s.press("escape")
        await s.until(lambda: [message.value["what"] for message in s.server.sets] == ["dry", "stop"])
        await s.until(lambda: s.app.screen is page.screen)
        assert "silent" not in s.status


async def test_a_recording_of_send_and_return_is_given_up_or_refused(tmp_path: Path):
    async with stage() as s:
        await opened(s)
        s.server.answers["jobs.record_pair"] = {"dry": "", "wet": "", "signal": "/loops/guitar.wav"}
        await s.press("n", "down", "enter")
        await s.until(lambda: isinstance(s.app.screen, Going) and "guitar.wav is played out" in s.text)
        await s.press("escape")
        await s.until(lambda: [message.value["what"] for message in s.server.sets][-1] == "stop")
        s.server.refuse["jobs.record_pair"] = "no pair was recorded: cannot open hw:0"
        await s.press("n", "down", "enter")
        await s.until(lambda: "cannot open hw:0" in s.status)
