"""Training jobs as server, terminal and command line speak of them. Plain values.

A job is a folder below `data_folder()/jobs`: its run.toml, the trainer's JSON lines as log.jsonl, the model file and
its earlier checkpoints. The server owns the queue: one job runs, the others wait. All of them stand in `View.jobs`, in
their order; a Snapshot comes whenever anything but figures has changed, and a `JobLine` with each new figure.

A sweep is one job: its steps are trials, its checkpoints the best model so far, its ESR that model's. When it is taken
up again, the trial that ran begins anew. The last training of each rack's SuperKnob (`superknob.train`) is listed as
well. It waits for nobody and has no folder; it can be stopped and removed.

What a client sets (`Set(key, value)`; JOB below is an id, alone or in the table; `?` may be left out; the Reply's value
is what stands behind the arrow, its error a sentence):

    jobs.start            a `NewJob` as a table, or the path of a run.toml or sweep.toml   -> the id
    jobs.check            {dry, wet}: what is wrong with a pair, before it is learned from  -> a `Pair`, as a table
    jobs.pause  jobs.resume  JOB    a job that was stopped or failed resumes, too, from its checkpoint
    jobs.stop             JOB       it ends, and keeps the best model so far
    jobs.continue         {id, minutes?}  train longer: from the checkpoint that plays, or else from its model
    jobs.reroll           {id, seed?}     other controls for a steered sound; one that runs is stopped first
    jobs.move             {id, place}     another place in the queue, from 0; "ID PLACE" as text
    jobs.target           {id, esr}       it ends when the validation reaches this ESR; 0: it does not
    jobs.title            {id, title}
    jobs.listen           {id, slot}      its checkpoints play in this slot; "" in no slot; the slot may be of any type
    jobs.undo_checkpoint  {id, checkpoint?}  play this one of `Job.checkpoints` (the one before) and stay there;
                                          `jobs.listen` follows the newest again
    jobs.compare          {id, what}      "model": dry recording through the slot, "original": the wet one, as loud,
                                          "off": the source of before
    jobs.save             {id, name?}     a copy of what plays (or else of its model) in the library -> the path
    jobs.remove           JOB             with its folder; one that runs is ended first
    jobs.record_pair      {what, name?}   "dry": record what is played in; "wet": play that out, through the device,
                                          and record the return; "both": the same with the file that is the source
                                          (or the loop); "look": whether that is done; "stop": end it
                                          -> {dry, wet}: paths, "" where there is none yet

What a client gets (`Get(key)`), as plain values:

    jobs                  all of them: a list of `Job`
    jobs.ID               one `Job`
    jobs.ID.history       its curves: a list of `JobRecord`, the oldest first, at most MOST_RECORDS
    jobs.ID.log           the last lines of its log, as text
    jobs.ID.run           its run.toml, as text
    jobs.ID.pair          its recordings: a `Pair`
    jobs.ID.spectrum      target and model at the present checkpoint: a `Spectrum`, or None while there is none
"""

from __future__ import annotations

from typing import Any

import msgspec

KINDS = ("capture", "parametric", "steer", "conditioning", "superknob", "sweep")
STATES = ("queued", "running", "paused", "stopped", "done", "failed")
JOB_KEYS = tuple(f"jobs.{name}" for name in (
    "start check pause resume stop continue reroll move target title listen undo_checkpoint compare save remove"
    " record_pair"
).split())  # fmt: skip
LIVE = ("queued", "running", "paused")  # of these: they have a place in the queue
PRESETS: dict[str, dict[str, str]] = {  # by kind: the trainer's presets, and what they are in a few words
    "steer": {
        "fast": "short memory",
        "reverb": "long memory",
        "paper": "paper, short memory",
        "reverb_paper": "paper, long memory",
    },
    "capture": {"fast": "quick", "wavenet": "finer", "lstm": "thorough", "nam": "largest, for hours"},
    "parametric": {"fast": "quick", "lstm": "thorough", "micro_tcn": "long memory", "steerable_tcn": "steerable"},
    "conditioning": {"fast": "quick", "paper": "paper"},
}
GRADES = ((0.01, "very close"), (0.035, "close"), (0.1, "recognisable"), (0.3, "rough"))  # ESR up to, in a word or two
MOST_JOBS = 64
MOST_RECORDS = 2000  # of a history
CHECKPOINTS = 8  # that are kept of each job


class Finding(msgspec.Struct, frozen=True):
    """One thing about a pair of recordings, as `trainer.checks` says it."""

    kind: str
    severity: str = "note"  # bad: it stops a run that is not forced; warning; note
    message: str = ""  # what, with the numbers
    reason: str = ""  # why it matters
    remedy: str = ""  # what to do


class Waveform(msgspec.Struct, frozen=True):
    """A recording in a few hundred columns: least and largest sample of each."""

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Pair(msgspec.Struct, frozen=True):
    """A pair of recordings: where it lies, what is wrong with it, what it looks like once aligned."""

    dry: str = ""  # whole paths; a folder of recordings stands in `dry`
    wet: str = ""
    rate: int = 0  # Hz
    seconds: float = 0.0
    delay: int = 0  # samples by which the wet file is late; taken out in the waveforms
    findings: tuple[Finding, ...] = ()  # the worst first
    dry_wave: Waveform = Waveform()
    wet_wave: Waveform = Waveform()


class Spectrum(msgspec.Struct, frozen=True):
    """Long-term spectra of the validation recordings, in bands evenly spaced on a log axis."""

    hz: tuple[float, ...] = ()  # the middle of each band
    target_db: tuple[float, ...] = ()
    model_db: tuple[float, ...] = ()
    step: int = 0  # of the checkpoint


class JobRecord(msgspec.Struct, frozen=True):
    """One validation. Figures that a run does not have are None. Steps and seconds go on through continuations."""

    step: int = 0
    seconds: float = 0.0  # of training so far
    done: float = 0.0  # 0..1, of the present budget
    loss: float | None = None  # of training, since the record before
    validation: float | None = None  # loss
    esr: float | None = None  # of the validation
    best: float | None = None  # the least so far of what the best weights are chosen by (steer: loss, else ESR)
    best_step: int = 0
    rate: float = 0.0  # recordings' time learned from over time spent: x real time
    eta: float | None = None  # seconds left
    learning_rate: float | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A model file that a job has written on its way; the newest is the last of `Job.checkpoints`."""

    number: int  # grows by one with each; no number is given twice in a job
    step: int
    path: str
    esr: float | None = None  # of the validation before it
    words: str = ""  # as in "re-rolled, seed 3", "finished"


class Job(msgspec.Struct, frozen=True):
    """A job as clients see it."""

    id: str  # letters, digits and dashes
    kind: str = "capture"  # of KINDS
    title: str = ""
    preset: str = ""
    state: str = "queued"  # of STATES
    place: int = -1  # in the queue, 0 is the one that runs; -1: it is over, or a SuperKnob's, which has none
    note: str = ""  # why it is in this state, in words: "paused while late blocks rise", what went wrong if it failed
    auto_paused: bool = False  # it was not a person who paused it, and it goes on by itself
    slot: str = ""  # the id of the slot that its checkpoints play in
    rack: str = ""  # the name of that slot's rack
    following: bool = True  # whether the slot gets each new checkpoint; False after `jobs.undo_checkpoint`
    comparing: str = "off"  # model or original while `jobs.compare` is on
    run: str = ""  # path of its run.toml
    model: str = ""  # path of its model file; it exists once there is a checkpoint
    saved: str = ""  # path of the copy in the library, once there is one
    dry: str = ""  # recordings it learns from; a folder of them in `dry`
    wet: str = ""
    target_esr: float = 0.0
    created: str = ""  # ISO 8601, local time
    last: JobRecord | None = None
    esr: float | None = None  # of the finished model, or else of the last validation
    network: str = ""  # in words, once known, as in "SteerableTCN, 12345 parameters"
    findings: tuple[Finding, ...] = ()  # of its recordings
    warnings: tuple[str, ...] = ()  # what the trainer warned of, in words
    checkpoints: tuple[Checkpoint, ...] = ()  # the last CHECKPOINTS of them, the oldest first
    playing: int = -1  # number of the checkpoint that the slot plays; -1: none
    restarts: int = 0  # times that a killed trainer was started again


class JobLine(msgspec.Struct, frozen=True, tag="job-line"):
    """A new figure of a job, to every client as it comes; the curves before it are at `jobs.ID.history`."""

    id: str
    record: JobRecord


class NewJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `jobs.start` takes: a run file, or what is to be in one. Paths are whole paths."""

    run: str = ""  # an existing run.toml or sweep.toml; of the rest then only title, slot, target_esr and front count
    recipe: str = "steer"
    preset: str = "fast"
    title: str = ""
    slot: str = ""  # to be heard in, from the first checkpoint on; as `jobs.listen`
    dry: str = ""
    wet: str = ""
    folder: str = ""
    effect: str = ""
    minutes: float = 0.0  # 0: the preset's
    steps: int = 0  # 0: the preset's
    target_esr: float = 0.0
    seed: int = 0
    size: int = 0  # hidden units, or channels of a TCN; 0: the preset's
    start_from: str = ""
    force: bool = False  # train although the checks say no
    licence: str = ""
    front: bool = False  # before those that wait
    run_keys: dict[str, Any] = {}  # anything else a run.toml knows, as {"network": {"blocks": 3}}


def grade(esr: float | None) -> str:
    """An ESR in a word or two, "" where there is none."""
    return "" if esr is None else next((word for limit, word in GRADES if esr <= limit), "far off")


def without_figures(jobs: tuple[Job, ...]) -> tuple[Job, ...]:
    """Jobs without their figures, to tell a new figure from any other change."""
    return tuple(msgspec.structs.replace(job, last=None, esr=None) for job in jobs)
