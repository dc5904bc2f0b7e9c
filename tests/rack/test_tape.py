"""The tape thread against an engine played by the test: exact frames, no seam, nothing lost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from rack.server.meters import FALL_DB_PER_S, Meters
from rack.server.tape import Loop, Tape, TapeError, check_sound
from rack.server.wav import WavWriter
from rack.shared import TAPE, Shared, put, take

RATE = 48000


@pytest.fixture
def shared():
    return Shared()


@pytest.fixture
def tape(shared):
    tape = Tape(shared, lambda text, recording: reports.append((text, recording)))
    reports = tape.reports = []  # type: ignore[attr-defined]
    yield tape
    tape.close()


def ramp(frames: int, channels: int = 1) -> np.ndarray:
    return (np.arange(frames * channels, dtype=np.float32) / 1e5).reshape(frames, channels)


def wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def wait(until, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.005)


def play(shared: Shared, frames: int) -> np.ndarray:
    """What an engine would read next."""
    shared.tape_read[0] = max(shared.tape_read[0], shared.tape_from[0])
    wait(lambda: shared.tape_written[0] - shared.tape_read[0] >= frames)
    heard = np.empty((frames, 2), np.float32)
    take(shared.tape, int(shared.tape_read[0]), heard)
    shared.tape_read[0] += frames
    return heard


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_loop_begins_at_its_first_frame_and_has_no_seam(tmp_path, shared, tape, channels):
    sound = ramp(1000, channels)
    tape.play(wav(tmp_path / "a.wav", sound), RATE)
    heard = np.concatenate([play(shared, 7777) for _ in range(30)])  # goes round the ring as well
    wanted = np.resize(sound[:, [0, 0]] if channels == 1 else sound[:, :2], heard.shape)
    np.testing.assert_array_equal(heard, wanted)


def test_the_tape_is_kept_ahead_but_no_further_than_agreed(tmp_path, shared, tape):
    tape.play(wav(tmp_path / "a.wav", ramp(100)), RATE)
    wait(lambda: shared.tape_written[0] >= 0.75 * RATE)
    time.sleep(0.25)
    assert shared.tape_written[0] == int(0.75 * RATE) < TAPE
    tape.play(None, RATE)
    shared.tape_read[0] = shared.tape_written[0]
    time.sleep(0.25)
    assert shared.tape_written[0] == int(0.75 * RATE)


def test_another_file_begins_at_its_first_frame_and_leaves_the_old_one_to_fade(tmp_path, shared, tape):
    tape.play(wav(tmp_path / "a.wav", np.ones((500, 1), np.float32)), RATE)
    play(shared, 64)
    for n in range(5):
        was = int(shared.tape_read[0])
        tape.play(wav(tmp_path / f"{n}.wav", ramp(3000)), RATE)
        old = np.empty((int(shared.tape_from[0]) - was, 2), np.float32)
        take(shared.tape, was, old)
        assert len(old) >= 6000 and (n or (old == 1).all()), "the engine may still fade out of the old file"
        np.testing.assert_array_equal(play(shared, 30000)[:, 0], np.resize(ramp(3000)[:, 0], 30000))


def test_a_file_of_another_rate_is_resampled_without_a_seam(tmp_path):
    rate, hz = 44100, 441.0
    sound = np.sin(2 * np.pi * hz * np.arange(4400) / rate).astype(np.float32)[:, None]
    loop = Loop(wav(tmp_path / "a.wav", sound, rate), RATE)
    heard = np.concatenate([loop.read(n) for n in (1, 17, 4096, 20000)])[:, 0]
    wanted = soxr.resample(np.tile(sound[:, 0], 8), rate, RATE, "HQ")[: len(heard)]
    np.testing.assert_allclose(heard, wanted, atol=1e-5)
    assert np.abs(heard[2000:] - np.sin(2 * np.pi * hz * np.arange(len(heard)) / RATE)[2000:]).max() < 1e-3
    loop.close()


def test_what_is_no_sound_is_said(tmp_path, tape):
    (tmp_path / "a.wav").write_bytes(b"nonsense")
    assert "is no sound file" in check_sound(str(tmp_path / "a.wav")) and "is no sound" in check_sound("/gone.wav")
    assert "is an empty sound file" in check_sound(str(wav(tmp_path / "b.wav", ramp(0))))
    assert check_sound(str(wav(tmp_path / "c.wav", ramp(1)))) == ""
    with pytest.raises(TapeError):
        tape.play(tmp_path / "a.wav", RATE)


def test_a_loop_that_breaks_is_reported_and_not_fatal(tmp_path, shared, tape, monkeypatch):
    tape.play(wav(tmp_path / "a.wav", ramp(100)), RATE)

    def broken(self):
        raise TapeError("cannot be read any more: gone")

    monkeypatch.setattr(Loop, "_decode", broken)
    shared.tape_read[0] = shared.tape_written[0]
    wait(lambda: tape.reports)
    assert tape.reports == [(f"{tmp_path / 'a.wav'} cannot be read any more: gone", False)]
    monkeypatch.undo()
    tape.play(tmp_path / "a.wav", RATE)
    assert len(play(shared, 100))


def test_a_recording_has_every_frame_and_is_whole_at_any_moment(tmp_path, shared, tape):
    put(shared.record, shared.record_written, ramp(500, 2))  # before the start: not recorded
    path, sound = tmp_path / "deep" / "take.wav", ramp(90000, 2)
    tape.record(path, rate=RATE, channels=2)
    for start in range(0, 60000, 6000):
        put(shared.record, shared.record_written, sound[start : start + 6000])
        wait(lambda: shared.record_read[0] == shared.record_written[0])
    middle, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(middle, sound[:60000])
    put(shared.record, shared.record_written, sound[60000:])
    assert tape.finish(0.02) == pytest.approx(90000 / RATE) and tape.recorded_s == 0
    final, rate = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(final, sound)
    assert rate == RATE
    with pytest.raises(FileExistsError):
        tape.record(path, rate=RATE, channels=2)


def test_a_mono_rack_records_one_channel(tmp_path, shared, tape):
    tape.record(tmp_path / "a.wav", rate=44100, channels=1)
    put(shared.record, shared.record_written, ramp(100, 2))
    tape.finish(0.02)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], ramp(100, 2)[:, 0])


def test_a_full_disk_ends_the_recording_with_a_word(tmp_path, shared, tape, monkeypatch):
    path = tmp_path / "a.wav"
    tape.record(path, rate=RATE, channels=2)
    put(shared.record, shared.record_written, ramp(48000, 2))
    wait(lambda: tape.recorded_s == 1.0)

    def full(self, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WavWriter, "write", full)
    put(shared.record, shared.record_written, ramp(100, 2))
    wait(lambda: tape.reports)
    assert tape.reports == [(f"{path}: No space left on device; recording stopped at 1.0 s", True)]
    assert soundfile.info(path).frames == 48000 and tape.finish(0.01) == 0


def test_the_wav_header_never_promises_more_than_there_is(tmp_path):
    writer = WavWriter(tmp_path / "a.wav", rate=RATE, channels=2)
    writer.write(ramp(10, 2))
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"half a frame")  # as after a kill in the middle of a piece
    assert soundfile.info(tmp_path / "a.wav").frames == 10
    writer.frames = (1 << 32) // 8
    assert writer.full
    writer.close()


def test_meters_fall_hold_and_stay_lit(shared):
    now = [100.0]
    meters = Meters(shared, clock=lambda: now[0])

    def read(seconds: float):
        now[0] += seconds
        return meters.telemetry([3, None], channels=2, rate=RATE, block=64, recorded_s=0, scope=True)

    shared.peak_in[:] = [0.5, 0.0]
    shared.peaks[3] = 1.0
    shared.clipped_in[0] = 1
    shared.busy_us[0] = 333.3
    first = read(0.05)
    assert first.input_db == (-6.0, -120.0) and first.slots_db == (0.0, -120.0) and shared.peak_in[0] == 0
    assert (first.input_clip, first.output_clip) == (True, False) and first.load == pytest.approx(0.25, abs=1e-3)
    later = read(1.0)
    assert later.input_db[0] == pytest.approx(-6.02 - FALL_DB_PER_S, abs=0.06) and later.input_hold_db[0] == -6.0
    assert read(1.0).input_hold_db[0] < -6.0 and later.input_max_db == -6.0 and later.input_clip
    meters.reset()
    assert not read(0.05).input_clip and read(0.05).input_max_db < -20
    shared.clipped_in[0] = 0  # a new engine
    assert not read(0.05).input_clip
    shared.clipped_in[0] = 1
    assert read(0.05).input_clip
    shared.peak_out[0] = np.nan
    assert read(0.05).output_db[0] == -120.0
    put(shared.scope, shared.scope_written, ramp(1000, 2))
    scope = np.frombuffer(read(0.05).scope_out, np.float32)
    np.testing.assert_array_equal(scope, ramp(1000, 2)[-960:, 1])
