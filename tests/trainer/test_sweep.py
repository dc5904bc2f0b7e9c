"""Sweeps: what a sweep file may say, which trials are made, ended early, made again, and what becomes of the best."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from optuna import Study
from optuna.trial import TrialState, create_trial

from rack import sweep as said_of
from trainer import config, study, sweep
from trainer.sweepfile import Range, load, run_of

from .sweep_worker import MEANT, STEPS, figure, pretended

JOURNAL = 'storage = "study.journal"'  # much quicker than a database
FILE = """
out = "plexi.nafx"
trials = {trials}
prune_after = {prune}
lost_after = 600
{more}
[run]
recipe = "capture"
data = {{ dry = "dry.wav", wet = "sound/wet.wav" }}
network = {{ kind = "lstm", layers = 1 }}
[space]
network.hidden = {{ low = 4, high = 32 }}
schedule.learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
"""


def planned(folder: Path, *, trials=4, prune=1.0, more=JOURNAL) -> Path:
    path = folder / "sweep.toml"
    path.write_text(FILE.format(trials=trials, prune=prune, more=more))
    return path


def swept(plan, **options) -> list[dict]:
    """The records of a sweep whose trials train nothing."""
    records: list[dict] = []
    sweep.sweep(plan, records.append, **{"train": pretended, **options})
    return records


def events(records: list[dict], event: str) -> list[dict]:
    return [record for record in records if record["event"] == event]


def opened(plan):
    return study.opened(plan, create=False)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_sweep_file_leaves_keys_of_a_run_open(tmp_path):
    text = """
out = "models/plexi.nafx"
run = "plexi.toml"
storage = "postgresql://me:secret@host/studies"
[space]
preset = ["fast", "lstm"]
network.hidden = [8, 16]
schedule.batch = { low = 16, high = 128, log = true }
schedule.learning_rate = { low = 1e-3, high = 1 }
data.validation = { low = 0.1, high = 0.3, step = 0.1 }
"""
    (tmp_path / "sweep.toml").write_text(text)
    (tmp_path / "plexi.toml").write_text('out = "x"\n[data]\ndry = "d.wav"\nwet = "w.wav"\n[schedule]\nsegment = 4096')
    plan = load(tmp_path / "sweep.toml")
    assert (plan.name, plan.trials, plan.measure) == ("plexi", 30, "esr")
    assert plan.folder == str(tmp_path / "models" / "plexi-sweep") and "secret" not in study.shown(plan)
    assert plan.space == {
        "preset": ("fast", "lstm"), "network.hidden": (8, 16), "schedule.batch": Range(16, 128, True),
        "schedule.learning_rate": Range(1e-3, 1.0), "data.validation": Range(0.1, 0.3, step=0.1),
    }  # fmt: skip
    run = run_of(plan, {"preset": "lstm", "network.hidden": 8, "schedule.batch": 20}, tmp_path / "t.nafx")
    assert run["schedule"] == {"segment": 4096, "batch": 20} and run["network"] == {"hidden": 8}
    assert run["data"] == {"dry": str(tmp_path / "d.wav"), "wet": str(tmp_path / "w.wav")}
    assert run["out"] == str(tmp_path / "t.nafx") and run["preset"] == "lstm"


RUN = 'run = { data = { dry = "d", wet = "w" } }\n'
GOOD = f'out = "m.nafx"\n{RUN}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("out = ", "sweep.toml"),
        (GOOD, "space"),
        (GOOD + "[space]", "empty"),
        (RUN + "[space]\nseed = [1]", "out"),
        (GOOD + "trials = 0\n[space]\nseed = [1]", "trials = 0: must be 1 to"),
        (GOOD + "trails = 3\n[space]\nseed = [1]", "trails"),
        (GOOD + 'measure = "loud"\n[space]\nseed = [1]', "measure = 'loud'.*one of esr"),
        (GOOD + "[space]\nseed = []", r"seed = \[\].*list of choices"),
        (GOOD + "[space]\nseed = 3", "seed = 3.*list of choices.*belongs into the run"),
        (GOOD + "[space]\nseed = [1, [2]]", "number, a word"),
        (GOOD + "[space]\nseed = [1, 1]", "twice"),
        (GOOD + "[space]\nnetwork.hidden = { low = 8 }", "network.hidden.*high"),
        (GOOD + "[space]\nnetwork.hidden = { low = 8, high = 4 }", "low must be below high"),
        (GOOD + "[space]\nschedule.rise = { low = 0, high = 1, log = true }", "low must be above 0"),
        (GOOD + "[space]\nnetwork = [1]", "network: no such key"),
        (GOOD + "[space]\nhidden = [8]", "hidden: no such key; a run has: .*network"),
        (GOOD + "[space]\nschedule.bach = [8]", r"schedule.bach: no such key; \[schedule\] has: .*batch"),
        (GOOD + "[space]\nschedule.batch = [8, 0]", "schedule.batch = 0: .*1 to 4096"),
        (GOOD + '[space]\nrecipe = ["capture", "capturing"]', "recipe = 'capturing': Invalid enum"),
        (GOOD + "[space]\nseed = { low = 0.5, high = 2 }", "seed = 0.5: Expected `int`"),
        ('out = "m"\nrun = "no.toml"\n[space]\nseed = [1]', "no.toml: cannot be read"),
        ('out = "m"\nrun = { data = { dry = "d", wet = "w", validation = 0 } }\n[space]\nseed = [1]', "validation = 0"),
    ],
)
def test_a_sweep_file_that_cannot_be_says_why(tmp_path, text, said):
    (tmp_path / "sweep.toml").write_text(text)
    with pytest.raises(config.TrainerError, match=said) as error:
        load(tmp_path / "sweep.toml")
    assert str(error.value).startswith(str(tmp_path / "sweep.toml"))


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("postgresql://me:secret@localhost:1/x", r"storage postgresql://me:\*\*\*@localhost:1/x: cannot be opened: "),
        ("nonsense://x", "nonsense"),
        ("no/such/folder/study.journal", "cannot be opened"),
        ("study.db", "holds no study 'plexi'; nafx-rack sweep begins it"),
    ],
)
def test_a_study_that_cannot_be_opened_says_why(tmp_path, storage, said):
    plan = load(planned(tmp_path, more=f'storage = "{storage}"'))
    with pytest.raises(config.TrainerError, match=said):
        study.opened(plan, create=storage != "study.db")


# --- trials -----------------------------------------------------------------------------------------------------------


def test_the_best_of_the_trials_becomes_the_model(tmp_path):
    plan = load(planned(tmp_path, trials=25))
    records = swept(plan)
    ended, table = events(records, "ended"), events(records, "table")[0]
    assert len(ended) == 25 and {record["state"] for record in ended} == {"done"}
    best = table["trials"][0]
    assert best["value"] == min(record["value"] for record in ended)
    assert abs(best["params"]["network.hidden"] - MEANT) <= 2, "it has learned where to look"
    assert list(table["importance"])[0] == "network.hidden" and sum(table["importance"].values()) == pytest.approx(1)
    assert records[-1] == {"event": "best", "trial": best["number"], "value": best["value"], "measure": "esr",
                           "out": str(tmp_path / "plexi.nafx")}  # fmt: skip
    kept = tmp_path / "plexi-sweep" / f"plexi-{best['number']:04d}.nafx"
    assert (tmp_path / "plexi.nafx").read_text() == kept.read_text()
    run = tomllib.loads(Path(f"{kept}.toml").read_text())
    assert figure(run) == best["value"] and run["network"]["layers"] == 1
    assert config.load(Path(f"{kept}.toml")).data.wet == str(tmp_path / "sound" / "wet.wav")
    again = swept(plan, train=None)
    assert [record["event"] for record in again] == ["sweep", "table", "best"] and again[0]["ended"] == 25


def test_a_trial_that_does_worse_than_the_others_ends_early(tmp_path):
    plan = load(planned(tmp_path, trials=14, prune=0.3))
    records = swept(plan)
    ended = events(records, "ended")
    pruned = [record["number"] for record in ended if record["state"] == "pruned"]
    assert pruned and min(pruned) >= study.UNPRUNED and len(ended) == 14
    halfway = {number: [r for r in events(records, "validation") if r["trial"] == number] for number in range(14)}
    assert all(2 <= len(halfway[number]) < STEPS for number in pruned)
    middle = sorted(halfway[number][1]["esr"] for number in range(study.UNPRUNED))[study.UNPRUNED // 2]
    assert halfway[pruned[0]][-1]["esr"] > 0.8 * middle
    assert records[-1]["trial"] not in pruned
    folder = tmp_path / "plexi-sweep"
    assert (folder / f"plexi-{pruned[0]:04d}.nafx").exists() and not list(folder.glob("*.stop"))


def test_a_trial_that_fails_counts_and_says_why_and_the_others_go_on(tmp_path):
    def failing(path):
        if tomllib.loads(path.read_text())["network"]["hidden"] > 16:
            raise config.TrainerError("out of memory")
        yield from pretended(path)

    plan = load(planned(tmp_path, trials=8))
    table = events(swept(plan, train=failing), "table")[0]
    failed = [trial for trial in table["trials"] if trial["params"]["network.hidden"] > 16]
    assert failed and {trial["text"] for trial in failed} == {"out of memory"}
    assert [trial["state"] for trial in table["trials"]] == ["done"] * (8 - len(failed)) + ["failed"] * len(failed)


def test_a_sweep_whose_trials_all_fail_ends_with_the_reason(tmp_path):
    def unknown(path):
        raise config.TrainerError("network: hiden: no such setting")
        yield

    plan = load(planned(tmp_path, trials=50))
    with pytest.raises(config.TrainerError, match="all 3 trials so far have failed, the last one so: network: hiden"):
        swept(plan, train=unknown)
    assert len(opened(plan).trials) == 3


def test_a_model_without_its_figure_is_no_result(tmp_path):
    def silent(path):
        for record in pretended(path):
            if record["event"] == "done":
                record["metrics"] = {"validation": {"esr": float("nan")}}
            yield record

    plan = load(planned(tmp_path, trials=1))
    ended = events(swept(plan, train=silent), "ended")
    assert ended[0]["state"] == "failed" and "esr = nan" in ended[0]["text"]
    assert not (tmp_path / "plexi.nafx").exists()


# --- workers ----------------------------------------------------------------------------------------------------------


def test_a_sweep_that_is_stopped_goes_on_with_the_same_trial(tmp_path):
    plan = load(planned(tmp_path, trials=4))
    records: list[dict] = []
    sweep.sweep(plan, records.append, worker=True, train=pretended, stop=lambda: len(events(records, "trial")) == 3)
    assert [record["state"] for record in events(records, "ended")] == ["done", "done", "lost"]
    left = events(records, "trial")[-1]
    table = events(swept(plan), "table")[0]
    assert [trial["state"] for trial in table["trials"]] == ["done"] * 4 + ["lost"]
    again = next(trial for trial in table["trials"] if trial["again"] is not None)
    assert again["again"] == left["number"] and again["params"] == left["params"]


def test_a_worker_that_falls_silent_is_lost_by_everyones_own_clock():
    def running(beat, worker=None):
        made = create_trial(state=TrialState.RUNNING, user_attrs={"beat": beat, "worker": worker or {}})
        made.number = 7
        return [made]

    watch = sweep.Watch(lost_after=60)
    assert not watch.lost(running(1), 1000) and not watch.lost(running(1), 1059)
    assert not watch.lost(running(2), 1061), "it has said something since"
    assert not watch.lost(running(2), 1120) and watch.lost(running(2), 1122)
    elsewhere = {"place": "another machine", "pid": 1 << 30, "host": "b"}
    assert not sweep.Watch(60).lost(running(1, elsewhere), 1000)
    here = {**elsewhere, "place": sweep._place()}
    assert not sweep._place() or sweep.Watch(60).lost(running(1, here), 1000), "no such process here"


def test_a_trial_that_loses_its_worker_again_and_again_is_left_out(tmp_path):
    plan = load(planned(tmp_path, trials=2))
    Path(plan.folder).mkdir()
    made = study.opened(plan)
    for _ in range(sweep.TRIES):
        assert sweep.claimed(made, plan)
        records: list[dict] = []
        sweep.taken_up(made, sweep.Watch(lost_after=-1), records.append)
    assert records == [{"event": "lost", "number": sweep.TRIES - 1, "host": records[0]["host"], "again": False}]
    assert len({str(trial.params) for trial in made.trials}) == 1
    table = events(swept(plan), "table")[0]
    assert [trial["state"] for trial in table["trials"]] == ["done"] * 2 + ["lost"] * sweep.TRIES


def test_a_worker_taken_for_lost_lets_go_of_its_trial(tmp_path):
    plan = load(planned(tmp_path, trials=2))
    slow = []

    def asleep(path):
        for record in pretended(path):
            if not slow and record["step"] == 3:
                slow.append(sweep.taken_up(opened(plan), sweep.Watch(lost_after=-1), lambda record: None))
            yield record

    records = swept(plan, train=asleep)
    assert [record["state"] for record in events(records, "ended")] == ["lost", "done", "done"]
    assert len([trial for trial in events(records, "table")[0]["trials"] if trial["state"] == "done"]) == 2


def test_two_who_see_the_same_gap_make_one_trial(tmp_path, monkeypatch):
    plan = load(planned(tmp_path, trials=1))
    Path(plan.folder).mkdir()
    first, second = study.opened(plan), study.opened(plan)
    claimed = []

    def late(*given):
        monkeypatch.undo()
        claimed.append(sweep.claimed(second, plan))
        return study.asked(*given)

    monkeypatch.setattr(sweep.studies, "asked", late)
    assert sweep.claimed(first, plan) is None and claimed[0].number == 0
    assert [trial["state"] for trial in study.table(first, plan)["trials"]] == ["running"]


def test_the_settings_of_a_lost_trial_are_made_again_whoever_looks_for_a_trial_meanwhile(tmp_path, monkeypatch):
    plan = load(planned(tmp_path, trials=1))
    Path(plan.folder).mkdir()
    first, second = study.opened(plan), study.opened(plan)
    lost = sweep.claimed(first, plan)
    found, tell = [], Study.tell

    def late(*given, **options):
        monkeypatch.undo()
        found.append(sweep.claimed(second, plan))
        tell(*given, **options)
        found.append(sweep.claimed(second, plan))

    monkeypatch.setattr(Study, "tell", late)
    sweep.taken_up(first, sweep.Watch(lost_after=-1), lambda record: None)
    again = [trial for trial in found if trial]
    assert [(trial.user_attrs["again"], trial.params) for trial in again] == [(lost.number, lost.params)]
    assert [trial["state"] for trial in study.table(first, plan)["trials"]] == ["running", "lost"]


def test_a_study_is_not_mixed_with_another(tmp_path):
    swept(load(planned(tmp_path, trials=1)))
    path = planned(tmp_path, trials=3)
    assert len(events(swept(load(path)), "ended")) == 2, "more trials may be asked for later"
    path.write_text(path.read_text().replace("high = 32", "high = 48"))
    with pytest.raises(config.TrainerError, match="'plexi' was begun with another .space. or measure; give this one"):
        swept(load(path))


def test_a_best_model_made_elsewhere_is_named(tmp_path):
    plan = load(planned(tmp_path, trials=1))
    swept(plan)
    for path in (tmp_path / "plexi.nafx", tmp_path / "plexi-sweep" / "plexi-0000.nafx"):
        path.unlink()
    last = swept(plan)[-1]
    assert last["file"] == "plexi-0000.nafx" and "out" not in last
    assert "is not here: copy plexi-0000.nafx" in said_of.said(last)
    assert not (tmp_path / "plexi.nafx").exists()


# --- lines ------------------------------------------------------------------------------------------------------------


def test_records_are_lines_for_people(tmp_path):
    plan = load(planned(tmp_path, trials=3, more=""))
    say = said_of.speaker()
    lines = [line for record in swept(plan) if (line := say(record))]
    assert lines[0].startswith("plexi: 3 trials, by esr; sqlite:///")
    assert lines[1].startswith("trial 0: hidden ") and ", learning rate 0.0" in lines[1]
    assert len([line for line in lines if line.startswith("trial 0:  ") or "real time" in line]) == 4 * 3
    table = lines[-2].splitlines()
    assert table[0].split() == ["trial", "state", "esr", "hidden", "learning", "rate", "seconds", "host"]
    assert [line.split()[1] for line in table[1:4]] == ["done"] * 3 and table[4] == "3 of 3 trials have ended"
    lost = {"event": "lost", "number": 3, "host": "b", "again": True}
    assert say(lost) == "trial 3: its worker on b is gone; it is in the queue again"


def test_signs_of_life_are_given_while_a_trial_runs(tmp_path, monkeypatch):
    plan = load(planned(tmp_path, trials=1))
    now = [time.monotonic()]
    monkeypatch.setattr(sweep.time, "monotonic", lambda: now[0])

    def slow(path):
        for record in pretended(path):
            now[0] += plan.lost_after / sweep.BEATS
            yield record

    swept(plan, train=slow)
    assert opened(plan).trials[0].user_attrs["beat"] == STEPS + 1
