"""The workshop: programs that live by structure, errors in words, and the catalogue that the package ships."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmodels import ring
from jaxmodels.boxes import BOXES, make
from jaxmodels.effect import Knob, apply, hold
from jaxmodels.recurrent import LSTM, Settings
from rack import catalogue as shipped
from rack import protocol
from rack.engine.program import Loader
from rack.protocol import BoxSpec, Build, Built, Failed, Fuse, Fused, Line, Placed, WorkshopReady
from rack.workshop import catalogue, programs
from rack.workshop.build import OnTheSide, Workshop, serve
from rack.workshop.loop import has_large_product
from rack.workshop.row import KNOBS, Layout, check, glide, initial_state, prepare, row_step

RATE = 48000


def build_one(effect, folder, block=32):
    return programs.build([prepare(effect, longest=block)], channels=1, rate=RATE, block=block, folder=folder)


def test_another_capture_of_one_architecture_needs_no_compilation(tmp_path):
    def capture(seed, hidden=8):
        return LSTM(Settings(hidden=hidden), rngs=nnx.Rngs(seed))

    first, second, other = (build_one(box, tmp_path) for box in (capture(0), capture(1), capture(0, hidden=12)))
    assert not first.cached and second.cached and first.path == second.path
    assert not other.cached and other.path != first.path


def test_another_block_length_or_rate_is_another_program(tmp_path):
    box = make("gain")
    paths = {build_one(box, tmp_path, block).path for block in (32, 33)}
    at_44 = programs.build([prepare(box, longest=32)], channels=1, rate=44100, block=32, folder=tmp_path)
    assert len(paths | {at_44.path}) == 3  # the glide of the knobs knows the rate


def test_the_layout_gives_every_leaf_back():
    rng = np.random.default_rng(0)
    tree = {
        "small": (jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), jnp.arange(5, dtype=jnp.int32)),
        "large": jnp.asarray(rng.normal(size=(100, 50)), jnp.float32),
        "scalar": jnp.float32(7),
    }
    layout = Layout(tree)
    arrays = layout.join(tree)
    assert len(arrays) == 3  # the small floats, the small integers, the large one
    back = layout.part(arrays)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), back, tree)))


def test_a_knob_glides_the_same_however_the_signal_is_cut():
    start, target = jnp.array([1.0, 0.2]), jnp.array([0.0, 0.9])
    whole = glide(start, target, 6000, RATE)
    cut, at = [], start
    for length in [1, 64, 35, 900, 5000]:
        cut.append(glide(at, target, length, RATE))
        at = cut[-1][-1]
    np.testing.assert_allclose(jnp.concatenate(cut), whole, atol=2e-5)
    after_20_ms = float(whole[int(0.02 * RATE) - 1, 0])
    assert after_20_ms == pytest.approx(np.exp(-1), rel=1e-3)
    assert (glide(target, target, 64, RATE) == target[None]).all()  # at rest a knob stands exactly


def test_a_bypassed_box_gives_its_input_back_as_late_as_itself():
    class Late(nnx.Module):
        """Ten samples late and twice as loud."""

        knobs, settings, channels, sample_rate, latency, receptive_field = (), None, 1, None, 10, 11

        def initial_state(self, knobs=None):
            return ring.silence(1, 10)

        def step(self, state, x, knobs):
            window = ring.extend(state, x.T)
            return 2 * window.tap(10).T, window.after

    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (64, 1)), jnp.float32)
    box, targets = Late(), np.zeros((1, KNOBS), np.float32)
    for on in (True, False):
        targets[0, 0] = on
        y, _, report = row_step([box], RATE, (initial_state(box, on=on),), x, x, jnp.asarray(targets))
        np.testing.assert_allclose(y[10:], (2 if on else 1) * x[:-10], atol=1e-6)
        assert report[0, 0] == pytest.approx(float(jnp.abs(y).max()))


def test_a_row_is_its_boxes_in_series():
    boxes = [LSTM(Settings(hidden=4), rngs=nnx.Rngs(3)), make("gain")]
    x = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (128, 1)), jnp.float32)
    targets = np.zeros((2, KNOBS), np.float32)
    targets[:, 0], targets[1, 1] = 1.0, 0.75
    states = tuple(initial_state(box, targets[i, 1 : 1 + len(box.knobs)], longest=128) for i, box in enumerate(boxes))
    y, _, _ = row_step(boxes, RATE, states, x, x, jnp.asarray(targets))
    expected = apply(boxes[1], apply(boxes[0], x), hold(jnp.array([0.75]), 128))
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("block", [64, 512])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", BOXES)
def test_a_box_has_nothing_that_the_compiler_leaves_to_a_library(kind, channels, block):
    """A program that calls a library is many kernels, and the callback then waits for a thread of the runtime's."""
    box = make(kind, channels=channels)
    state, x = ring.pack(box.initial_state(), block), jnp.zeros((block, channels))
    knobs = jnp.zeros((block, len(box.knobs)))
    assert not has_large_product(box.step, state, x, knobs)
    assert "fft" not in str(jax.make_jaxpr(box.step)(state, x, knobs))


def test_a_box_with_too_many_knobs_is_refused():
    class Many:
        knobs = tuple(Knob(f"k{i}") for i in range(KNOBS))

    with pytest.raises(ValueError, match="room for 31"):
        check(Many())


def test_the_process_builds_fuses_and_says_what_it_cannot_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path))
    ours, theirs = socket.socketpair()
    reader = protocol.Reader(protocol.FromWorkshop)
    arguments = [sys.executable, "-m", "rack.workshop.build", str(theirs.fileno())]
    with ours, subprocess.Popen(arguments, pass_fds=(theirs.fileno(),)) as process:
        theirs.close()
        assert isinstance(reader.receive(ours), WorkshopReady)

        def ask(order):
            ours.sendall(protocol.frame(order))
            return reader.receive(ours)

        gain, same = BoxSpec("gain"), dict(channels=2, rate=RATE, block=64)
        built = ask(Build(1, gain, **same))
        assert isinstance(built, Built) and built.ticket == 1 and not built.cached
        assert [knob.name for knob in built.knobs] == ["gain"] and built.values == (0.0,)
        assert Path(built.program).exists() and Path(built.arrays).exists()
        assert ask(Build(2, gain, **same)).cached
        fused = ask(Fuse(3, (gain, gain), **same))
        assert isinstance(fused, Fused) and Path(fused.program).exists()
        unknown = ask(Build(4, BoxSpec("flanger"), **same))
        assert isinstance(unknown, Failed) and "flanger" in unknown.error and "gain" in unknown.error
        missing = ask(Build(5, BoxSpec("model", "/nowhere/x.json"), **same))
        assert isinstance(missing, Failed) and "/nowhere/x.json" in missing.error
        ours.shutdown(socket.SHUT_RDWR)
        assert process.wait(timeout=60) == 0


def test_nobody_waits_for_a_row_that_is_being_fused(tmp_path):
    class Slow(Workshop):
        def order(self, order):
            if isinstance(order, Fuse):
                began.set()
                assert go_on.wait(60)
                return Fused(order.ticket, "", 0.0, False)
            return Failed(order.ticket, "not to be made")

    began, go_on = threading.Event(), threading.Event()
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=serve, args=(theirs, Slow(tmp_path)))
    serving.start()
    same = dict(channels=2, rate=RATE, block=64)
    with ours, theirs:
        reader = protocol.Reader(protocol.FromWorkshop)
        ours.sendall(protocol.frame(Fuse(1, (), **same)))
        assert began.wait(60)
        ours.sendall(protocol.frame(Build(2, BoxSpec("gain"), **same)))
        assert reader.receive(ours) == Failed(2, "not to be made")
        go_on.set()
        assert reader.receive(ours).ticket == 1
        ours.shutdown(socket.SHUT_RDWR)
        serving.join(60)
        assert not serving.is_alive()


def test_of_the_rows_that_wait_to_be_fused_only_the_newest_is():
    began, go_on, done = threading.Event(), threading.Event(), []

    def work(order):
        began.set()
        assert go_on.wait(60)
        done.append(order.ticket)

    aside = OnTheSide(work)
    assert not aside.busy
    aside.put(Fuse(1, (), channels=2, rate=RATE, block=64))
    assert began.wait(60)
    for ticket in (2, 3, 4):
        aside.put(Fuse(ticket, (), channels=2, rate=RATE, block=64))
    assert aside.busy
    go_on.set()
    end = time.monotonic() + 60
    while (aside.busy or len(done) < 2) and time.monotonic() < end:
        time.sleep(0.01)
    assert done == [1, 4] and not aside.busy


def test_the_oldest_files_of_the_cache_go_first(tmp_path):
    import os
    import time

    old, new = tmp_path / "old", tmp_path / "new"
    for file, age in ((old, 3 * 86400), (new, 0)):
        file.write_bytes(b"x" * 100)
        os.utime(file, (time.time() - age,) * 2)
    programs.forget_oldest(tmp_path, keep_bytes=150)
    assert new.exists() and not old.exists()


def test_the_shipped_catalogue_is_up_to_date():
    path = Path(shipped.__file__).with_name("catalogue.json")
    assert path.read_bytes() == catalogue.encoded(), "run: python -m rack.workshop.catalogue"


def test_knobs_mean_the_same_on_both_sides():
    """The catalogue's knobs and the boxes' own map positions to values alike."""
    for kind in BOXES:
        box = make(kind, channels=2)
        for knob, info in zip(box.knobs, shipped.catalogue()[kind].knobs, strict=True):
            for position in (0.0, 0.3, 1.0):
                assert info.value(position) == pytest.approx(knob.value(position), rel=1e-6, abs=1e-9)
                assert info.position(info.value(position)) == pytest.approx(position, abs=1e-9)


def test_an_order_is_answered_from_memory_wherever_its_knobs_stand(tmp_path):
    workshop, same = Workshop(tmp_path), dict(channels=1, rate=RATE, block=16)
    first = workshop.order(Build(1, BoxSpec("gain", positions=(0.5,)), **same))
    again = Workshop(tmp_path).order(Build(2, BoxSpec("gain", positions=(0.9,)), **same))
    assert (again.ticket, again.program, again.arrays, again.cached) == (2, first.program, first.arrays, True)
    Path(first.program).unlink()
    rebuilt = Workshop(tmp_path).order(Build(3, BoxSpec("gain"), **same))
    assert rebuilt.program == first.program and Path(first.program).exists() and not rebuilt.cached


def test_a_slot_is_loaded_with_its_knobs_where_they_stand(tmp_path):
    targets = np.zeros((64, KNOBS), np.float32)
    box = prepare(make("gain"), longest=16)
    program = programs.build([box], channels=1, rate=RATE, block=16, folder=tmp_path)
    targets[5, :2] = 1.0, 0.75
    placed = Placed(5, 1, str(program.path), str(programs.keep_arrays(box, tmp_path)))
    line = Loader(targets).line(Line(1, (placed,)), None, block=16, channels=1)
    y, broken = line.process(np.full((16, 1), 0.1, np.float32), targets)
    assert broken is None
    np.testing.assert_allclose(y, 0.1 * 10 ** (12 / 20), rtol=1e-5)  # at once, without a glide
