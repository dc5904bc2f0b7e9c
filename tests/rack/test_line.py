"""The planner alone: any edits against a slow engine and workshop end in the row that was wanted last."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rack.protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, Line, Stream
from rack.server.line import LIMITER_ID, Planner, Wanted
from rack.shared import KNOBS, ROWS

LIMITER = Wanted(LIMITER_ID, BoxSpec("limiter"), (1.0, 1.0))


def wanted(*slots: str) -> list[Wanted]:
    """Slots as `id:type`, and the limiter."""
    pairs = [slot.partition(":") for slot in slots]
    return [*(Wanted(id, BoxSpec(kind or id), (1.0, 0.5)) for id, _, kind in pairs), LIMITER]


class Rig:
    """A planner, and what it has sent."""

    def __init__(self):
        self.targets = np.zeros((ROWS, KNOBS), np.float32)
        self.orders, self.lines, self.rests, self.now = [], [], 0, 0.0
        self.planner = Planner(self.targets, self.orders.append, self.lines.append, self._rest, lambda: self.now)
        self.planner.workshop_ready()
        self.planner.engine_ready()

    def _rest(self):
        self.rests += 1

    def build(self, index: int = 0) -> None:
        order = self.orders.pop(index)
        if isinstance(order, Fuse):
            self.planner.fused(Fused(order.ticket, "fused", 0.0, False))
            return
        name = f"{order.box.type}-{order.block}"
        if self.planner.built(Built(order.ticket, name, name, (), (), 0, None, 0, None, 0.0, False)) is not None:
            self.planner.plan(self.want, self.planner.stream)

    def plan(self, *slots: str, stream: Stream = Stream()) -> None:
        self.want = wanted(*slots)
        self.planner.plan(self.want, stream)

    def settle(self) -> Line:
        """Everything that is under way, done; answers the last line."""
        while True:
            while self.orders:
                self.build()
            before = len(self.lines)
            for line in [line for line in self.lines if isinstance(line, Line)][-1:]:
                self.planner.took(line.number)
            if len(self.lines) == before and not self.orders:
                return [line for line in self.lines if isinstance(line, Line)][-1]


def names(line: Line) -> list[str]:
    return [slot.program.rpartition("-")[0] for slot in line.slots]


def test_nothing_is_sent_until_everything_is_built():
    rig = Rig()
    rig.plan("a", "b")
    rig.build()
    rig.build()
    assert [type(message) for message in rig.lines] == [Stream]
    rig.build()
    assert names(rig.lines[-1]) == ["a", "b", "limiter"]


def test_the_row_is_fused_when_the_engine_has_taken_it_and_not_again():
    rig = Rig()
    rig.plan("a")
    rig.build()
    rig.build()
    rig.planner.fuse()
    assert not rig.orders and rig.rests == 0, "not before the engine has it"
    rig.planner.took(rig.lines[-1].number)
    assert rig.rests == 1
    rig.planner.fuse()
    assert isinstance(rig.orders[0], Fuse) and [box.type for box in rig.orders[0].boxes] == ["a", "limiter"]
    rig.build()
    assert rig.lines[-1].fused == "fused" and rig.lines[-1].slots == rig.lines[-2].slots
    rig.planner.took(rig.lines[-1].number)
    rig.planner.fuse()
    assert not rig.orders


def test_an_edit_makes_a_fuse_pointless():
    rig = Rig()
    rig.plan("a")
    rig.settle()
    rig.planner.fuse()
    fuse = rig.orders.pop()
    rig.plan("a", "b")
    rig.planner.fused(Fused(fuse.ticket, "old", 0.0, False))
    assert names(rig.settle()) == ["a", "b", "limiter"] and rig.lines[-1].fused == ""


def test_without_its_limiter_nothing_goes_out():
    rig = Rig()
    rig.want = wanted("a")[:1]
    rig.planner.plan(rig.want, Stream())
    rig.build()
    assert [type(message) for message in rig.lines] == [Stream]


def test_targets_stand_in_the_row_before_the_line_names_it_and_turning_is_one_store():
    rig = Rig()
    rig.plan("a", "b")
    line = rig.settle()
    assert [list(rig.targets[slot.row, :2]) for slot in line.slots] == [[1, 0.5], [1, 0.5], [1, 1]]
    rig.planner.aim("b", (0.0, 0.25))
    assert list(rig.targets[line.slots[1].row, :3]) == [0, 0.25, 0] and rig.planner.row_of("b") == line.slots[1].row
    assert rig.planner.id_of(line.slots[1].row) == "b" and rig.planner.id_of(63) is None


def test_another_block_plays_the_old_rack_until_the_new_one_is_built():
    rig = Rig()
    rig.plan("a")
    rig.settle()
    sent = len(rig.lines)
    rig.plan("a", stream=Stream(block=128))
    assert len(rig.lines) == sent and {order.block for order in rig.orders} == {128}
    rig.settle()
    assert [type(message) for message in rig.lines[sent:]] == [Stream, Line]
    rig.plan("a", stream=Stream(block=128, output_device="other"))
    assert [type(message) for message in rig.lines[sent + 2 :]] == [Stream, Line], "another device needs no building"
    assert not rig.orders


def test_a_refused_line_is_built_once_more_and_a_refused_fuse_is_dropped():
    rig = Rig()
    rig.plan("a")
    rig.build()
    rig.build()
    assert rig.planner.refused(rig.lines[-1].number, again=True) and len(rig.orders) == 2
    assert not rig.planner.refused(99, again=True)
    rig.settle()
    rig.planner.fuse()
    rig.build()
    assert not rig.planner.refused(rig.lines[-1].number, again=True) and not rig.orders
    rig.planner.fuse()
    assert isinstance(rig.orders[0], Fuse)


def test_a_new_workshop_gets_only_what_nobody_answered():
    rig = Rig()
    rig.plan("a", "b")
    rig.build()
    rig.planner.workshop_gone()
    rig.orders.clear()
    rig.plan("a", "b", "c")
    assert not rig.orders
    rig.planner.workshop_ready()
    assert sorted(order.box.type for order in rig.orders) == ["b", "c", "limiter"]


def test_an_order_that_kills_two_workshops_is_named():
    rig = Rig()
    rig.plan("a", "b")
    ticket = rig.orders[0].ticket
    assert rig.planner.workshop_gone() is None
    assert rig.planner.workshop_gone() is None, "one that never came up had nothing in hand"
    rig.planner.workshop_ready()
    assert rig.planner.workshop_gone() == ticket
    rig.planner.failed(Failed(ticket, "deadly"))
    rig.orders.clear()
    rig.planner.workshop_ready()
    assert [order.box.type for order in rig.orders] == ["b", "limiter"] and rig.planner.workshop_gone() is None


def test_a_line_that_nobody_answers_does_not_block_for_ever():
    rig = Rig()
    rig.plan("a")
    rig.build()
    rig.build()
    rig.plan("a", "b")
    rig.build()
    assert names(rig.lines[-1]) == ["a", "limiter"]
    rig.now = 60.0
    rig.plan("a", "b")
    assert names(rig.lines[-1]) == ["a", "b", "limiter"]


ids = st.lists(st.sampled_from(["a", "b", "c", "a:x", "b:y", "d", "e"]), max_size=6, unique_by=lambda s: s[0])
events = st.one_of(
    st.tuples(st.just("plan"), ids),
    st.tuples(st.just("block"), st.sampled_from([64, 128])),
    st.tuples(st.just("build"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["take", "fuse", "engine dies", "workshop dies"]), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=40))
def test_whatever_happens_the_last_wish_plays_and_rows_are_never_shared(history):
    rig, last, stream = Rig(), [], Stream()
    rig.plan()
    for what, value in history:
        if what in ("plan", "block"):
            last = value if what == "plan" else last
            stream = Stream(block=value) if what == "block" else stream
            rig.plan(*last, stream=stream)
        elif what == "build" and rig.orders:
            rig.build(value % len(rig.orders))
        elif what == "take" and isinstance(rig.lines[-1], Line):
            rig.planner.took(rig.lines[-1].number)
        elif what == "fuse":
            rig.planner.fuse()
        elif what == "engine dies":
            rig.planner.engine_gone()
            rig.planner.engine_ready()
        elif what == "workshop dies":
            rig.planner.workshop_gone()
            rig.orders.clear()
            rig.planner.workshop_ready()
    line = rig.settle()
    assert names(line) == [slot.box.type for slot in wanted(*last)] and not rig.planner.building
    assert all(slot.program.endswith(f"-{stream.block}") for slot in line.slots)
    seen = {}
    for message in rig.lines:
        if isinstance(message, Stream):
            block = message.block
            continue
        rows = [slot.row for slot in message.slots]
        assert len(set(rows)) == len(rows)
        for slot in message.slots:
            assert seen.setdefault(slot.generation, (slot.row, slot.program)) == (slot.row, slot.program)
            assert slot.program.endswith(f"-{block}"), "never a program of another block on a stream"


def test_a_failed_order_is_not_waited_for():
    rig = Rig()
    rig.plan("a", "b")
    order = next(order for order in rig.orders if isinstance(order, Build) and order.box.type == "a")
    rig.orders.remove(order)
    assert rig.planner.spec_of(order.ticket) == BoxSpec("a")
    assert rig.planner.failed(Failed(order.ticket, "no")) == "a" and rig.planner.failed(Failed(999, "no")) is None
    rig.plan("b")
    assert names(rig.settle()) == ["b", "limiter"]


# --- What is made ahead -----------------------------------------------------------------------------------------------


def model(path, positions=None) -> BoxSpec:
    return BoxSpec("model", str(path), positions=positions)


def answer(ticket: int, program: str, anywhere: bool = True) -> Built:
    return Built(ticket, program, f"{program}-arrays", (), (), 0, None, 0, None, 0.0, False, anywhere=anywhere)


class Stepping(Rig):
    """A rig that plays a model and is at rest."""

    def __init__(self, first):
        super().__init__()
        self.step(first)
        self.settle()
        self.planner.fuse()
        self.settle()

    def step(self, path, positions=None) -> None:
        self.want = [Wanted("amp", model(path, positions), (1.0,)), LIMITER]
        self.planner.plan(self.want, self.planner.stream)


def test_what_was_made_ahead_plays_at_once_and_stays_one_program(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    rig = Stepping(a)
    assert rig.planner.ahead(model(b)) and rig.orders[-1].ahead and not rig.planner.ahead(model(a))
    ticket = rig.orders.pop().ticket
    assert rig.planner.spec_of(ticket) == model(b)
    assert rig.planner.made_ahead(ticket, answer(ticket, "model-64")) and rig.planner.has(model(b))
    before = len(rig.lines)
    rig.step(b)
    assert not rig.orders and not rig.planner.building
    (line,) = rig.lines[before:]
    assert line.fused == "fused" and line.slots[0].arrays == "model-64-arrays"
    rig.settle()
    assert rig.planner.is_fused


def test_what_depends_on_the_knobs_is_made_ahead_for_these_alone(tmp_path):
    rig = Stepping(tmp_path / "a")
    box = model(tmp_path / "b", (0.5,))
    rig.planner.ahead(box)
    ticket = rig.orders.pop().ticket
    rig.planner.made_ahead(ticket, answer(ticket, "model-64", anywhere=False))
    assert rig.planner.has(box) and not rig.planner.has(model(tmp_path / "b", (0.6,)))
    rig.step(tmp_path / "b", (0.6,))
    assert len(rig.orders) == 1


def test_a_changed_file_is_not_what_was_made_ahead(tmp_path):
    path = tmp_path / "b"
    path.write_text("one")
    rig = Stepping(tmp_path / "a")
    rig.planner.ahead(model(path))
    ticket = rig.orders.pop().ticket
    rig.planner.made_ahead(ticket, answer(ticket, "model-64"))
    assert rig.planner.has(model(path))
    os.utime(path, ns=(1, 1))
    assert not rig.planner.has(model(path))


def test_what_cannot_be_made_is_not_tried_again_and_an_order_goes_before(tmp_path):
    rig = Stepping(tmp_path / "a")
    rig.planner.ahead(model(tmp_path / "b"))
    ticket = rig.orders.pop().ticket
    assert rig.planner.made_ahead(ticket, None) and rig.planner.has(model(tmp_path / "b"))
    rig.planner.ahead(model(tmp_path / "c"))
    rig.step(tmp_path / "d")  # the workshop drops what it was to make ahead
    rig.orders.pop(0)
    rig.settle()
    rig.planner.fuse()
    rig.settle()
    assert rig.planner.ahead(model(tmp_path / "c"))
    rig.planner.workshop_gone()
    assert rig.planner.has(model(tmp_path / "c")), "it may have been what ended the workshop"
    assert not rig.planner.made_ahead(99, None)


def test_nothing_is_made_ahead_while_there_is_work():
    rig = Rig()
    rig.plan("a")
    assert not rig.planner.ahead(model("/b"))
    rig.settle()
    rig.planner.fuse()
    assert not rig.planner.ahead(model("/b"))
    rig.settle()
    assert rig.planner.ahead(model("/b"))
