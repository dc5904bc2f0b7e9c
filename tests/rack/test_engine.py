"""The engine: exact output without a clock, no clicks, nothing that stops the sound."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from jaxmodels.boxes import make
from jaxmodels.effect import Knob
from rack.engine.callback import CROSSFADE_S, Callback
from rack.engine.meters import Deadlines
from rack.engine.program import Loader, Unfit
from rack.protocol import EngineReady, Quit, Refused, Source, Stream, Streaming, Took, Trouble
from rack.shared import TAPE, Shared, put, take

from .harness import Bench, EngineProcess

RATE = 48000


class Rig:
    """A callback driven by hand, in this process."""

    def __init__(self, folder, block=64, channels=2):
        self.shared = Shared()
        self.bench = Bench(folder, self.shared, block=block, channels=channels)
        self.loader, self.block, self.at = Loader(self.shared.targets), block, 0
        self.stream = Stream(backend="null", inputs=(1,), block=block, channels=channels, rate=RATE)
        self.callback = Callback(self.shared, self.stream, tape=False, mute=False)

    def load(self, *slots, fused=False):
        playing = self.callback.next_line or self.callback.line
        message = self.bench.line(*slots, fused=fused)
        self.callback.next_line = self.loader.line(message, playing, block=self.block, channels=self.stream.channels)

    def play(self, samples, signal=None, frequency=220.0, level=0.5):
        """The output of the next samples, left channel; a sine where no signal is given."""
        ys = []
        for _ in range(samples // self.block):
            n = np.arange(self.at, self.at + self.block)
            x = level * np.sin(2 * np.pi * frequency * n / RATE) if signal is None else signal[n]
            y = np.zeros((self.block, 2), np.float32)
            self.callback(x.astype(np.float32)[:, None], y)
            ys.append(y[:, 0].copy())
            self.at += self.block
        return np.concatenate(ys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Programs of all tests of this file: each structure is compiled once."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def rig(folder):
    return Rig(folder)


def steepest(y):
    return float(np.abs(np.diff(y)).max())


def gain_at(db):
    return np.array([(db + 24) / 48], np.float32)


class Poison(nnx.Module):
    """Passes sound until a sample is louder than 2, then is broken for ever: what a diverged network does."""

    knobs, sample_rate, latency, receptive_field = (Knob("nothing"),), None, 0, None
    settings = None

    def __init__(self, channels):
        self.channels = channels

    def initial_state(self, knobs=None):
        return jnp.zeros(1)

    def step(self, state, x, knobs):
        state = jnp.where(jnp.abs(x).max() > 2, jnp.nan, state)
        return x + state[None, :], state


def test_a_file_through_the_engine_process_is_exact_and_its_events_are_in_order(folder, tmp_path):
    x = np.random.default_rng(0).uniform(-0.2, 0.2, (9600, 2)).astype(np.float32)
    with EngineProcess() as engine:
        bench = Bench(folder, engine.shared)
        slots = [bench.slot(make("gain", channels=2), gain_at(6)), bench.slot(make("gain", channels=2), gain_at(-3))]
        engine.wait(EngineReady)
        engine.send(Source(False))
        engine.send(bench.files(tmp_path, x))
        engine.send(bench.line(*slots, fused=True))
        engine.wait(Trouble)
        kinds = [type(message) for message in engine.seen]
        assert kinds == [EngineReady, Streaming, Took, Trouble]
        assert engine.seen[-1].kind == "finished"
        engine.send(Quit())
        assert engine.process.wait(timeout=60) == 0
    y = np.load(tmp_path / "out.npy")
    faded = int(0.05 * RATE) + 64
    np.testing.assert_allclose(y[faded:], x[faded:] * 10 ** (3 / 20), atol=1e-6)
    assert np.abs(y[:64]).max() < 0.01  # starts with a fade-in


def test_slot_by_slot_and_fused_sound_the_same(rig):
    slots = [rig.bench.slot(make("gain", channels=2), gain_at(4)), rig.bench.slot(make("gain", channels=2))]
    rig.load(*slots)
    rig.play(RATE // 2)
    apart = rig.play(4800)
    rig.load(*slots, fused=True)
    together = rig.play(4800)
    assert [event[:2] for event in rig.callback.events] == [("took", 1), ("took", 2)]
    assert rig.callback.line.fused is not None
    np.testing.assert_allclose(np.abs(apart).max(), np.abs(together).max(), rtol=1e-6)
    assert steepest(np.concatenate([apart, together])) < 0.5 * 10 ** (4 / 20) * 2 * np.pi * 220 / RATE * 1.01


@pytest.mark.parametrize("edit", ["turn", "bypass", "add", "remove", "move", "mute", "source"])
def test_no_edit_clicks(rig, edit):
    """A sine through the edit: neighbouring samples differ by no more than the sine's own slope and the fade's."""
    bench = rig.bench
    first, second = bench.slot(make("gain", channels=2), gain_at(0)), bench.slot(make("gain", channels=2), gain_at(-6))
    rig.load(first, second)
    rig.play(RATE)
    before = rig.play(4800)
    if edit == "turn":
        rig.shared.targets[first.row, 1] = gain_at(6)[0]
    elif edit == "bypass":
        rig.shared.targets[second.row, 0] = 0.0
    elif edit == "add":
        rig.load(first, bench.slot(make("gain", channels=2), gain_at(6)), second)
    elif edit == "remove":
        rig.load(first)
    elif edit == "move":
        rig.load(second, first)
    elif edit == "mute":
        rig.callback.mute = True
    elif edit == "source":
        rig.callback.tape = True
    after = rig.play(RATE // 2)
    loudest = max(np.abs(before).max(), np.abs(after).max())
    slope = loudest * 2 * np.pi * 220 / RATE
    fade = loudest / (rig.block if edit == "source" else CROSSFADE_S * RATE)
    assert steepest(np.concatenate([before, after])) < slope + fade
    changed = abs(np.abs(after[-480:]).max() - np.abs(before[-480:]).max())
    assert changed > 0.1 or edit == "move"


def test_a_box_that_breaks_is_silenced_reset_and_reported(rig):
    slot = rig.bench.slot(Poison(2))
    rig.load(slot, rig.bench.slot(make("gain", channels=2)), fused=True)
    rig.play(RATE // 4)
    rig.play(64, level=5.0)
    assert np.isfinite(rig.play(640)).all()
    assert rig.shared.nonfinite[0] == 1
    assert ("nonfinite", slot.row, "") in rig.callback.events
    assert np.abs(rig.play(4800)).max() > 0.4  # it plays again


def test_an_exception_in_the_callback_is_one_block_of_silence(rig, monkeypatch):
    rig.load(rig.bench.slot(make("gain", channels=2)))
    rig.play(RATE // 4)
    line = rig.callback.line
    with monkeypatch.context() as patch:
        patch.setattr(line, "process", lambda *_: 1 / 0)
        assert not rig.play(64).any()
    assert rig.shared.errors[0] == 1
    assert [event[0] for event in rig.callback.events] == ["took", "exception"]
    assert np.abs(rig.play(4800)).max() > 0.4


def test_a_program_for_another_block_length_is_refused(folder, tmp_path):
    with EngineProcess() as engine:
        bench = Bench(folder, engine.shared, block=64)
        line = bench.line(bench.slot(make("gain", channels=2)))
        engine.send(Stream(backend="null", block=128))
        engine.wait(Streaming)
        engine.send(line)
        assert "block" in engine.wait(Refused).error
        engine.send(bench.line())
        engine.wait(Took)


def test_a_truncated_program_is_refused_and_the_sound_goes_on(rig, tmp_path):
    slot = rig.bench.slot(make("gain", channels=2))
    broken = tmp_path / "half.program"
    broken.write_bytes(Path(slot.program).read_bytes()[:500])
    with pytest.raises(Unfit, match="half.program"):
        rig.loader.line(rig.bench.line(type(slot)(9, 1, str(broken), slot.arrays)), None, block=64, channels=2)


def test_the_engine_ends_when_its_server_is_gone(folder):
    with EngineProcess() as engine:
        engine.send(Stream(backend="null"))
        engine.wait(Streaming)
        engine.connection.close()
        assert engine.process.wait(timeout=60) == 0


def test_recording_holds_what_was_played_and_a_full_ring_loses_frames_but_no_sound(rig):
    rig.load(rig.bench.slot(make("gain", channels=2)))
    rig.play(RATE // 2)
    rig.callback.recording = True
    y = rig.play(6400)
    recorded = np.zeros((6400, 2), np.float32)
    take(rig.shared.record, 0, recorded)
    np.testing.assert_array_equal(recorded[:, 0], y)
    rig.play(TAPE)
    assert rig.shared.lost[0] > 0 and rig.shared.errors[0] == 0


def test_the_tape_plays_from_where_the_new_source_starts(rig):
    rig.load(rig.bench.slot(make("gain", channels=2)))
    shared = rig.shared
    rig.callback.tape = True
    put(shared.tape, shared.tape_written, np.full((RATE, 2), 0.25, np.float32))
    rig.play(RATE // 2)
    shared.tape_from[0] = shared.tape_written[0]
    put(shared.tape, shared.tape_written, np.full((4800, 2), -0.5, np.float32))
    y = rig.play(640)
    assert y[0] > 0.2 and abs(y[-1] + 0.5) < 1e-6 and steepest(y) < 0.75 / 64 * 1.01
    assert shared.tape_read[0] == shared.tape_from[0] + 640
    rig.play(RATE // 4)
    assert shared.starved[0] > 0  # an empty tape is counted, and is silence
    assert not rig.play(64).any()


def test_meters_see_the_peak_and_the_clip(rig):
    rig.load(rig.bench.slot(make("gain", channels=2), gain_at(6)))
    rig.play(RATE // 2, level=0.5, frequency=55.0)
    assert rig.shared.peak_in[0] == pytest.approx(0.5, rel=1e-3)
    assert rig.shared.peak_out[0] == pytest.approx(0.5 * 10 ** (6 / 20), rel=1e-3)
    assert rig.shared.clipped_in[0] == 0
    rig.play(4800, level=1.2, frequency=55.0)
    assert rig.shared.clipped_in[0] > 0


def test_late_blocks_are_counted_from_the_first_that_is_heard(rig):
    x, y = np.zeros((64, 1), np.float32), np.zeros((64, 2), np.float32)

    def late(blocks):
        for _ in range(blocks):
            rig.callback(x, y, start=time.perf_counter() - 0.5)  # it was due half a second ago
        return int(rig.shared.late[0])

    assert late(10) >= 10, "and what the machine is late by itself"
    rig.load(rig.bench.slot(make("gain", channels=2)))
    rig.callback.deadlines.late = 1_000_000
    first = late(1)  # and those that were missed while it was loaded
    assert first < 1000 and late(10) >= first + 10


class TestDeadlines:
    """Which blocks were late, by the times at which callbacks began and ended."""

    @staticmethod
    def late(starts, busy=0.2):
        deadlines = Deadlines(1.0)
        for start in starts:
            deadlines.block(start, start + busy)
        return deadlines.late

    def test_a_steady_stream_is_never_late(self):
        rng = np.random.default_rng(0)
        assert self.late(np.arange(1000) + rng.uniform(0, 0.5, 1000)) == 0

    def test_a_slow_callback_is_late(self):
        deadlines = Deadlines(1.0)
        for n in range(10):
            deadlines.block(n, n + (1.5 if n == 5 else 0.2))
        assert deadlines.late == 1

    def test_a_late_start_is_late_where_it_ends_after_the_deadline(self):
        starts = np.arange(10.0)
        starts[4] += 0.9
        assert self.late(starts) == 1
        assert self.late(starts, busy=0.05) == 0

    def test_blocks_that_never_ran_are_late(self):
        assert self.late(np.concatenate([np.arange(5), np.arange(8, 20)])) == 3

    def test_blocks_that_waited_in_a_queue_are_late(self):
        starts = np.arange(20.0)
        starts[5:9] = [8.0, 8.25, 8.5, 8.75]
        assert self.late(starts, busy=0.2) == 3

    def test_a_driver_that_counts_anew_after_a_gap_is_not_late_for_ever(self):
        """JACK begins a new count of time after an xrun: from then on every callback starts 0.9 periods later."""
        assert self.late(np.concatenate([np.arange(100.0), 103.9 + np.arange(200)])) == 3

    def test_a_grid_that_moves_by_less_than_a_block_is_followed(self):
        late = self.late(np.concatenate([np.arange(100.0), 100.9 + np.arange(1000)]))
        assert 0 < late <= 2 * Deadlines.WINDOW

    @pytest.mark.parametrize("burst", [2, 4, 8, 16])
    def test_a_device_that_asks_for_several_blocks_at_once_is_not_late(self, burst):
        rng = np.random.default_rng(burst)
        wakes = np.repeat(np.arange(500) * burst + rng.uniform(0, 0.3, 500), burst)
        starts = wakes + np.tile(np.arange(burst), 500) * 0.6
        assert self.late(starts, busy=0.6) == 0

    def test_the_longest_burst_is_seen_in_the_second_window(self):
        deadlines = Deadlines(1.0)
        for n in range(20):
            for place in range(Deadlines.MOST):
                start = n * Deadlines.MOST + place * 0.2
                deadlines.block(start, start + 0.2)
        assert deadlines.burst == Deadlines.MOST and deadlines.late <= Deadlines.WINDOW

    def test_a_burst_that_ends_too_late_is_late(self):
        deadlines = Deadlines(1.0)
        for n in range(100):
            for place in range(4):
                busy = 2.0 if n == 70 else 0.2
                deadlines.block(4 * n + place * busy, 4 * n + (place + 1) * busy)
        assert deadlines.burst == 4 and deadlines.late == 2  # the last two of those that took 2 periods each

    def test_a_period_of_the_device_that_never_ran_is_as_many_late_blocks(self):
        wakes = np.repeat(np.concatenate([np.arange(50), np.arange(52, 90)]) * 4.0, 4)
        assert self.late(wakes + np.tile(np.arange(4), 88) * 0.2) == 8

    def test_a_device_whose_period_is_changed_is_seen_through(self):
        bursts = np.repeat(np.arange(100) * 4.0, 4) + np.tile(np.arange(4), 100) * 0.2
        single = 400.0 + np.arange(400)
        assert self.late(np.concatenate([bursts, single, 800 + bursts])) <= Deadlines.WINDOW

    def test_a_device_with_another_clock_is_not_late(self):
        assert self.late(np.arange(100000) * (1 + 5e-5)) == 0
        assert self.late(np.arange(100000) * (1 - 5e-5)) == 0
