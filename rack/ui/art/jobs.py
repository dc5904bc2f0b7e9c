"""Training jobs in words: a line of the queue, what is known of one, and what there is to do next."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rack.jobs import LIVE, PRESETS, Finding, Job, Pair, grade

from .glyphs import Glyphs
from .text import Row, clip, clock

INKS = {"queued": "dim", "running": "lit b", "paused": "warm", "stopped": "text", "done": "ok b", "failed": "hot b"}
SEVERITIES = {"bad": ("stop", "hot b"), "warning": ("look", "warm b"), "note": ("fine", "ok")}
FIGURES = 30  # cells of a job's figures in the queue
NEVER = "Nothing is being learned yet."
FIRST_STEPS = (
    "Give it what went into a device and what came out of it, and the rack learns to do the same while you play: "
    "n chooses two files, or records them. The slot in focus becomes the effect that is being learned, "
    "and every better version of it is heard at once."
)


def preset_words(kind: str, preset: str) -> str:
    """A preset in a few words; its own name where there are none."""
    return PRESETS.get(kind, {}).get(preset, preset)


def figures(job: Job) -> str:
    """How far a job is and how good, short: 47 %  close  3:20 left."""
    last = job.last
    parts = []
    if last is not None and job.state in ("running", "paused"):
        parts.append(f"{100 * last.done:.0f} %")
    parts.append(grade(job.esr))
    if last is not None and last.eta is not None and job.state == "running":
        parts.append(f"{clock(last.eta)} left")
    return "  ".join(filter(None, parts))


def queue_rows(jobs: Sequence[Job], chosen: Job | None, width: int, glyphs: Glyphs, held: str = "") -> list[Row]:
    """Lines of the queue in columns: state, title, kind, figures. The curves of `held` stay behind those of others."""
    room = max(width - 2 - 9, 8)
    kinds = [_kind(job, room, glyphs) for job in jobs]
    rights = [figures(job)[:FIGURES] if room > 36 else grade(job.esr) for job in jobs]
    kind_width, right_width = (max(map(len, words), default=0) for words in (kinds, rights))
    left = max(room - right_width - kind_width - 3, 6)
    rows = []
    for job, kind, right in zip(jobs, kinds, rights, strict=True):
        ground = " on well" if job is chosen else ""
        mark = "> " if job is chosen else "= " if job.id == held else "  "
        sounding = glyphs.on if job.slot and job.playing >= 0 else " "
        title = clip(job.title or job.id, left - 3, glyphs.ellipsis).ljust(left - 2)
        rows.append([
            (mark, f"focus b{ground}"),
            (f"{job.state:<8} ", INKS.get(job.state, "text") + ground),
            (title, f"{'bright b' if job is chosen else 'text'}{ground}"),
            (f"{sounding} ", f"lit{ground}"),
            (kind.ljust(kind_width + 1), f"dim{ground}"),
            (right.rjust(max(width - 11 - left - kind_width - 1, 0)), f"text{ground}"),
        ])
    return rows


def _kind(job: Job, room: int, glyphs: Glyphs) -> str:
    """What is learned, as fully as there is room."""
    words = f"{job.kind} {preset_words(job.kind, job.preset)}".strip()
    return clip(words, 22, glyphs.ellipsis) if room > 60 else job.kind if room > 46 else ""


def about(job: Job, glyphs: Glyphs) -> list[Row]:
    """Three lines: how far, how good, where it plays and what is to be known."""
    last = job.last
    how: list[str] = [preset_words(job.kind, job.preset), job.network]
    if last is not None:
        spent = f"{'trial' if job.kind == 'sweep' else 'step'} {last.step:,}, {clock(last.seconds)} so far"
        left = f"{clock(last.eta)} left" if last.eta is not None and job.state == "running" else ""
        pace = f"{last.rate:.0f}x real time" if last.rate and job.state == "running" else ""
        how = [spent, left, pace, job.network]
    good: Row = []
    if job.esr is not None:
        good = [(f"ESR {job.esr:.4f}, ", "text"), (grade(job.esr), "bright b")]
    if last is not None and last.validation is not None:
        good += [("   " if good else "", ""), (f"loss {last.validation:.4g}", "text" if good else "bright b")]
    good = good or [("nothing is known yet", "dim")]
    if last is not None and last.best is not None:
        good += [(f"   best {last.best:.4g} at step {last.best_step:,}", "text")]
    if job.target_esr:
        good += [(f"   ends at ESR {job.target_esr:g}", "dim")]
    return [[(", ".join(filter(None, how)), "text")], good, _where(job, glyphs)]


def _where(job: Job, glyphs: Glyphs) -> Row:
    """Which checkpoint plays where, and what went wrong or is worth knowing."""
    row: Row = []
    if job.slot:
        numbers = [each.number for each in job.checkpoints]
        which = "no checkpoint yet"
        if job.playing >= 0:
            newest = "the newest" if not numbers or job.playing == numbers[-1] else f"{numbers[-1] - job.playing} back"
            which = f"checkpoint {job.playing}, {newest}" + ("" if job.following else ", held")
        row += [(f"{glyphs.on} {job.slot}: ", "lit"), (which, "text")]
    if job.comparing != "off":
        row += [("   you hear the ", "dim"), (job.comparing, "focus b")]
    trouble = job.note or (job.warnings[-1] if job.warnings else "")
    if trouble:
        ink = "hot" if job.state == "failed" else "warm" if job.warnings or job.auto_paused else "dim"
        row += [("   " if row else "", ""), (trouble, ink)]
    return row


def next_step(job: Job | None, slot: str) -> str:
    """What to do now, in a line; `slot` is the one in focus."""
    if job is None:
        return "n: choose a dry and a wet recording to learn from"
    if job.kind == "superknob":
        return "s stops it" if job.state in LIVE else "turn the SuperKnob: R, s; t trains it on"
    heard = job.slot and job.playing >= 0
    if job.comparing != "off":
        other = "the model" if job.comparing == "original" else "the original"
        return f"you hear the {job.comparing}; x: {other}, Esc: your own playing again"
    if job.state == "failed":
        return "it failed: Space tries again from where it was, Delete removes it"
    if job.state == "queued":
        waits = "it begins in a moment" if job.place <= 0 else f"{job.place} before it; < moves it forward"
        return f"it waits: {waits}"
    if job.state == "paused":
        return "it rests; " + ("it goes on by itself when the sound is on time" if job.auto_paused else "Space goes on")
    if job.state == "running":
        if not job.checkpoints:
            return "it learns; the first version to listen to comes in a moment"
        if not heard:
            return f"Enter: play it in {slot}" if slot else "Enter plays it in a slot; add one on the rack page"
        return "play! x compares with the original, s stops and keeps the best"
    if not job.saved:
        return "it is over: w saves it in the library, c trains on" + ("" if heard else ", Enter plays it")
    return "it is in the library; n learns another sound"


def checklist(job: Job | None, pair: Pair | None, width: int, glyphs: Glyphs) -> list[Row]:
    """What is to be said about the recordings: each finding with its reason and its remedy."""
    if job is None:
        return []
    if job.kind == "superknob":
        return [[("learned from the rack's examples: they are beside the SuperKnob", "dim")]]
    findings: Sequence[Finding] = pair.findings if pair and pair.findings else job.findings
    rows: list[Row] = []
    if pair and pair.rate:
        size = f"{clock(pair.seconds)} at {pair.rate / 1000:g} kHz"
        late = f", wet {pair.delay} samples late" if pair.delay else ", in time"
        rows.append([(size + late, "text")])
    if not findings:
        checked = "nothing is wrong with the recordings" if pair and pair.rate else "the recordings are not checked yet"
        rows.append([(checked, "dim")])
    for finding in findings:
        word, ink = SEVERITIES.get(finding.severity, SEVERITIES["note"])
        for i, line in enumerate(wrap(finding.message, max(width - 6, 10))):
            rows.append([(f"{word:<5} " if i == 0 else " " * 6, ink), (line, "text")])
        for text in (finding.reason, finding.remedy and f"{glyphs.link[-1:]} {finding.remedy}"):
            rows += [[(" " * 6, ""), (line, "dim")] for line in wrap(text or "", max(width - 6, 10))]
    return rows


def over(job: Job) -> bool:
    """Whether a job has ended, one way or another."""
    return job.state not in LIVE
