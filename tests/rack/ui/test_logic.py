"""What the terminal knows and decides, without a screen: turning, mirror, governor, commands, start."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.binding import Binding

from rack.catalogue import KnobInfo, SettingInfo
from rack.protocol import Snapshot, Turned
from rack.ui import turning
from rack.ui.app import environment
from rack.ui.commands import BY_NAME, COMMANDS, footer, key_names, order
from rack.ui.governor import SKIPS, SLOWEST, Governor, writer_backlog
from rack.ui.mirror import ECHO_S, Mirror
from rack.ui.screens.dialogs import complete
from rack.ui.screens.overlays import help_text
from rack.ui.screens.settings import parse

from .fake import lead

MIX = KnobInfo("mix", "", 0.0, 1.0, 0.25)
GAIN = KnobInfo("gain", "dB", -24.0, 24.0, 0.0)
TIME = KnobInfo("time", "ms", 1.0, 2000.0, 350.0, "log")
MODE = KnobInfo("mode", "", 0.0, 2.0, 0.0, labels=("mono", "ping", "tape"))
positions = st.floats(0, 1)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# --- turning ---


@pytest.mark.parametrize(
    ("info", "value", "steps", "after"),
    [
        (MIX, 0.25, 1, 0.26), (MIX, 0.25, -0.1, 0.249), (MIX, 0.995, 1, 1.0), (MIX, 0.25, 10, 0.35),
        (GAIN, 0.0, 1, 0.5), (GAIN, 0.0, 0.1, 0.05), (GAIN, 23.8, 1, 24.0), (GAIN, 0.0, -10, -5.0),
        (MODE, 0.0, 1, 1.0), (MODE, 1.0, 0.1, 2.0), (MODE, 1.0, -10, 0.0),
    ],
)  # fmt: skip
def test_a_step(info, value, steps, after):
    assert turning.nudge(info, value, steps) == after


def test_steps_on_a_logarithmic_knob_are_ratios():
    assert turning.nudge(TIME, 100.0, 1) / 100.0 == pytest.approx(2000 ** (1 / 100), rel=1e-4)


@given(st.sampled_from([MIX, GAIN, TIME, MODE]), positions, st.floats(-40, 40), st.booleans())
def test_a_drag_stays_in_range(info, start, cells, fine):
    assert info.low <= turning.drag(info, info.value(start), cells, fine) <= info.high


def test_a_drag_of_twenty_cells_is_the_whole_way_and_fine_a_tenth():
    assert turning.drag(MIX, 0.0, 20, False) == 1.0
    assert turning.drag(MIX, 0.0, 20, True) == pytest.approx(0.1)
    assert turning.drag(MODE, 0.0, 9, False) == 1.0  # stops at labels


@given(st.sampled_from([MIX, GAIN, TIME]), positions)
def test_what_is_shown_can_be_typed(info, position):
    value = info.value(position)
    assert info.parse(turning.exact(info, value)) == pytest.approx(value, rel=1e-3, abs=1e-4)


def test_key_presses_that_follow_each_other_are_one_gesture():
    gestures = turning.Gestures()
    first = gestures.burst("a", 10.0)
    assert gestures.burst("a", 10.6) == first and gestures.burst("a", 11.2) == first
    assert gestures.burst("b", 11.3) > first
    later = gestures.burst("a", 11.4)
    assert gestures.burst("a", 12.2) > later
    assert gestures.new() > later and gestures.burst("a", 12.3) > later


# --- mirror ---


def shown(clock: Clock) -> Mirror:
    mirror = Mirror(clock)
    mirror.snapshot(Snapshot(5, lead()))
    return mirror


def test_the_hand_is_drawn_before_the_echo_and_not_undone_by_an_old_one():
    mirror = shown(Clock())
    mirror.turn("delay.mix", 0.5)
    mirror.turn("delay.mix", 0.6)
    assert mirror.value("delay.mix") == 0.6
    assert not mirror.turned(Turned(6, "delay.mix", 0.5))  # the echo of where the hand was
    assert mirror.value("delay.mix") == 0.6
    assert not mirror.turned(Turned(7, "delay.mix", 0.6000000238))  # ours, as float32
    assert mirror.turned(Turned(8, "delay.mix", 0.1))  # someone else's
    assert mirror.value("delay.mix") == 0.1


def test_without_an_echo_the_server_is_believed():
    clock = Clock()
    mirror = shown(clock)
    mirror.turn("delay.mix", 0.9)
    clock.now += ECHO_S / 2
    assert mirror.expire() == []
    clock.now += ECHO_S
    assert mirror.expire() == ["delay.mix"] and mirror.value("delay.mix") == 0.3


def test_a_snapshot_keeps_what_the_hand_does_and_forgets_slots_that_are_gone():
    mirror = shown(Clock())
    mirror.turn("delay.mix", 0.9)
    mirror.turn("eq.low", 3.0)
    mirror.snapshot(Snapshot(6, replace(lead(), slots=lead().slots[3:])))
    assert mirror.value("delay.mix") == 0.9 and "eq.low" not in mirror.knobs
    mirror.turn("eq.low", 1.0)  # must not come back
    assert not mirror.turned(Turned(7, "eq.low", 1.0))


def test_echoes_older_than_the_snapshot_do_not_count():
    mirror = shown(Clock())
    assert not mirror.turned(Turned(4, "delay.mix", 0.9)) and mirror.value("delay.mix") == 0.3


# --- governor ---


def test_the_governor_skips_and_halves_while_frames_wait_and_recovers_slowly():
    clock, waiting = Clock(), [0]
    governor = Governor(30.0, lambda: waiting[0], clock)

    def run(ticks: int) -> int:
        drawn = 0
        for _ in range(ticks):
            clock.now += 1 / 30
            drawn += governor.admit()
        return drawn

    assert run(30) == 30
    waiting[0] = 2
    assert run(SKIPS) == 0 and governor.link_hz == 15.0
    assert run(30) == 0 and governor.link_hz == 30.0 / SLOWEST
    waiting[0] = 0
    assert run(16) == 16 // SLOWEST
    run(400)
    assert governor.link_hz == 30.0 and run(30) == 30


def test_late_ticks_stand_for_a_backlog_that_cannot_be_seen():
    clock = Clock()
    governor = Governor(30.0, lambda: None, clock)
    clock.now += 1 / 30
    assert governor.admit()
    clock.now += 0.5
    assert not governor.admit()
    assert writer_backlog(object()) is None


# --- commands ---


def test_no_two_commands_of_one_place_share_a_key_and_names_are_unique():
    assert len(BY_NAME) == len(COMMANDS)
    for where in {command.where for command in COMMANDS}:
        keys = [key for c in COMMANDS if c.where == where for key in c.keys.split(",") if key]
        assert len(keys) == len(set(keys)), where
        assert len(list(Binding.make_bindings([Binding(k, "x") for k in keys]))) == len(keys)


def test_every_command_that_sets_something_has_a_value():
    view = lead()
    for command in COMMANDS:
        if command.sets:
            key, value = order(command, view, view.slots[1], 1) or ("", None)
            assert key and "{" not in key and value is not None, command.name
            assert "{slot}" not in command.sets or order(command, view, None, 0) is None


def test_what_some_commands_send():
    view = lead()

    def sent(name: str, index: int = 1):
        return order(BY_NAME[name], view, view.slots[index], index)

    assert sent("bypass") == ("plexi.bypass", True)
    assert sent("move_left") == ("slots.move", ["plexi", 0]) and sent("move_right", 4) == ("slots.move", ["reverb", 4])
    assert sent("model_next") == ("plexi.model.step", 1) and sent("preset_previous") == ("rack.step", -1)
    assert sent("mute") == ("mute", True) and sent("record") == ("record", True)
    assert sent("remove") == ("slots.remove", "plexi") and sent("undo") == ("undo", True)


def test_help_has_every_key_in_lines_that_fit():
    text = help_text({"focus": "red", "text": "white", "dim": "white"}).plain
    for command in COMMANDS:
        assert command.help in text or not command.keys
    assert max(map(len, text.splitlines())) <= 71  # the inside of the window on 80 columns


def test_footer_shows_the_focus_first_and_hides_covered_keys():
    assert [c.name for c in footer(["knob", "rack"])][:3] == ["up", "type", "default"]
    names = [c.name for c in footer(["pad", "rack"])]
    assert "pad_left" in names and "previous" not in names
    assert all(c.short for c in footer(["rack"]))
    assert key_names(BY_NAME["fine_up"]) == ["Shift ↑", "K"] and key_names(BY_NAME["redo"]) == ["^r"]


# --- small things ---


def test_paths_complete_like_in_a_shell(tmp_path):
    (tmp_path / "amps").mkdir()
    for name in ("plexi-1.nam", "plexi-2.nam", ".hidden"):
        (tmp_path / name).touch()
    assert complete(f"{tmp_path}/pl") == (f"{tmp_path}/plexi-", ["plexi-1.nam", "plexi-2.nam"])
    assert complete(f"{tmp_path}/am") == (f"{tmp_path}/amps/", ["amps/"])
    assert complete(f"{tmp_path}/")[1] == ["amps/", "plexi-1.nam", "plexi-2.nam"]
    assert complete(f"{tmp_path}/nothing/x") == (f"{tmp_path}/nothing/x", [])


def test_settings_are_checked_as_they_are_typed():
    seed = SettingInfo("seed", "int", 7, 0, 9999)
    assert parse(seed, "42") == 42
    for text, words in (("4.5", "a whole number from 0 to 9999"), ("-1", "seed = -1"), ("x", "seed = 'x'")):
        with pytest.raises(ValueError, match=words):
            parse(seed, text)


def test_environment_for_colours_and_remote_lines():
    assert environment("auto", {}) == {"TEXTUAL_FPS": "120"}
    assert environment("256", {})["TEXTUAL_COLOR_SYSTEM"] == "256"
    assert environment("none", {})["NO_COLOR"] == "1"
    remote = environment("auto", {"SSH_CONNECTION": "x"})
    assert remote["TEXTUAL_ANIMATIONS"] == "none" and "TEXTUAL_FPS" not in remote


def test_starting_imports_nothing_heavy():
    code = (
        "import sys, rack.ui.terminal\n"
        "heavy = {'jax', 'jaxlib', 'flax', 'jaxmodels', 'numpy', 'rack.server', 'rack.engine', 'rack.workshop'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("gone, status", [(False, 0), (True, -signal.SIGHUP)])
def test_without_its_terminal_the_program_ends(gone, status):
    ours, its = pty.openpty()
    code = (
        "import signal, sys; from rack.ui.terminal import end_without_terminal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as `run` does: nohup would keep it alive\n"
        "sys.stdin.readline(); end_without_terminal()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=its)
    os.close(its)
    if not gone:
        os.write(ours, b"\n")
        assert process.wait(60) == status
    os.close(ours)
    assert process.wait(60) == status
