"""Captures in a rack: their settings in racks.toml, the sound card's levels, what is measured once, blends, hints."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from flax import nnx
from msgspec.structs import replace

from jaxmodels import apply, save
from jaxmodels.effect import default_positions
from jaxmodels.levels import Interface, guitar_signal, loudness_db, response
from jaxmodels.recurrent import LSTM, Settings
from jaxmodels.tcn import SteerableTCN
from rack import config, tomlfile
from rack.catalogue import KnobInfo, catalogue
from rack.protocol import BoxSpec, Build, Built, SlotView, Stream
from rack.server.hints import Hints
from rack.server.keys import ChangeError, change, get
from rack.server.state import Facts, World, begin, knobs, spec, view
from rack.workshop import boxes, build, programs, render, row
from rack.workshop.boxes import box_for, made

from .test_line import Rig

RATE = 48000
IN_DBU, OUT_DBU = 18.3, 12.3


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAFX_RACK_HOME", str(tmp_path / "home"))


def linear(path: Path, gain: float, rate: int | None = RATE, **metadata) -> str:
    """A NAM capture that does nothing but multiply: what comes out tells what went in."""
    document = {
        "version": "0.5.4",
        "architecture": "Linear",
        "config": {"receptive_field": 1, "bias": False},
        "weights": [gain],
        "metadata": metadata,
    }
    path.write_text(json.dumps(document | ({"sample_rate": rate} if rate else {})))
    return str(path)


def network(path: Path, seed: int, rate: int = RATE) -> str:
    save(path, LSTM(Settings(hidden=4), sample_rate=rate, rngs=nnx.Rngs(seed)))
    return str(path)


def factor(spec: BoxSpec, interface: Interface = Interface()) -> float:
    """By how much a slot that only multiplies multiplies."""
    return float(apply(box_for(spec, RATE, 1, interface), np.full(8, 0.1, np.float32))[-1]) / 0.1


def decibels(ratio: float) -> float:
    return 20 * np.log10(ratio)


# --- a slot that plays a capture


def test_raw_is_the_file_and_nothing_else(tmp_path):
    path = linear(tmp_path / "a.nam", 0.5, input_level_dbu=IN_DBU, output_level_dbu=OUT_DBU, loudness=-30.0)
    assert factor(BoxSpec("model", path)) == pytest.approx(0.5, rel=1e-6)


def test_levels_polarity_and_delay_are_settings(tmp_path):
    path = linear(tmp_path / "a.nam", 0.5, input_level_dbu=IN_DBU, output_level_dbu=OUT_DBU, loudness=-30.0)
    card = Interface(12.0, 4.0)
    inward = 12.0 - IN_DBU
    for level, outward in (("raw", 0.0), ("normalised", 12.0), ("calibrated", OUT_DBU - 4.0)):
        found = factor(BoxSpec("model", path, {"level": level}), card)
        assert decibels(found / 0.5) == pytest.approx(inward + outward, abs=1e-3)
    assert factor(BoxSpec("model", path, {"polarity": "inverted"})) == pytest.approx(-0.5, rel=1e-6)
    late = box_for(BoxSpec("model", path, {"delay_samples": 3}), RATE, 2)
    y = np.asarray(apply(late, np.eye(1, 8).repeat(2, 0).T.astype(np.float32)))
    np.testing.assert_allclose(y, 0.5 * np.eye(1, 8, 3).repeat(2, 0).T, rtol=1e-6)


def test_trims_can_be_turned(tmp_path):
    box = box_for(BoxSpec("model", linear(tmp_path / "a.nam", 0.5)), RATE, 1)
    assert [knob.name for knob in box.knobs] == ["input_db", "output_db"]
    places = np.array([knob.position(value) for knob, value in zip(box.knobs, (6.0, -20.0), strict=True)], np.float32)
    y = apply(box, np.full(8, 0.1, np.float32), places)
    assert decibels(float(y[-1]) / 0.05) == pytest.approx(-14.0, abs=1e-3)


@pytest.mark.parametrize("said, asked, expected", [(None, 0, 48000), (44100, 0, 44100), (44100, 96000, 96000)])
def test_the_rate_is_the_files_or_the_one_that_is_set(tmp_path, said, asked, expected):
    path = linear(tmp_path / "a.nam", 0.5, rate=said)
    found = made(BoxSpec("model", path, {"sample_rate": asked} if asked else {}), RATE, 1)
    assert found.sample_rate == expected
    resampled = f"trained at {expected} Hz, resampled to {RATE} Hz"
    assert (resampled in found.remarks) == (expected != RATE) == (found.effect.latency > 0)


@pytest.mark.parametrize(
    "file, usual",
    [
        ("nam/core_my_model.nam", 48000),
        ("proteus/XComp_Pedal.json", 44100),
        ("neuralseed/gru4_ts9_pytorch.json", 48000),
        ("guitarml_other/tsm1n3_model_ts9_48k_cond2.json", 48000),
        ("aidax/tw40_british_lead_deerinkstudios.json", 48000),
        ("stmae/ts9_lstm_32_1_min_input.json", 44100),
        ("smartpedal_wavenet/ts9_fullD.json", 44100),
    ],
)
def test_every_family_has_its_usual_rate_and_takes_another(fixtures, file, usual):
    path = str(fixtures / "models" / file)
    assert made(BoxSpec("model", path), RATE, 1).sample_rate == usual
    assert made(BoxSpec("model", path, {"sample_rate": 96000}), RATE, 1).sample_rate == 96000


def test_what_the_file_asks_for_is_said(tmp_path):
    path = linear(tmp_path / "a.nam", 0.5, input_level_dbu=IN_DBU)
    found = made(BoxSpec("model", path, {"level": "calibrated"}), RATE, 1, Interface(12.0))
    assert found.input_db == pytest.approx(12.0 - IN_DBU)
    assert found.remarks == (
        "input -6.3 dB: captured at 18.3 dBu, the sound card is at 12 dBu",
        "output raw: the file does not tell its output level, so it cannot be calibrated",
    )


@pytest.mark.parametrize("settings", [{"level": "loud"}, {"delay_samples": -1}, {"sample_rate": 12}, {"gain": 1}])
def test_wrong_settings_are_named(tmp_path, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        box_for(BoxSpec("model", linear(tmp_path / "a.nam", 1.0), settings), RATE, 1)


def test_loudness_is_measured_once(tmp_path, monkeypatch):
    spec = BoxSpec("model", network(tmp_path / "a.nafx", 1), {"level": "matched"})
    first = made(spec, RATE, 1)
    assert first.remarks[-1].startswith("output ")
    monkeypatch.setattr(boxes, "loudness_db", None)
    assert made(spec, RATE, 1).remarks == first.remarks
    network(tmp_path / "a.nafx", 2)
    with pytest.raises(TypeError):
        made(spec, RATE, 1)


def steered_network(path: Path, seed: int) -> str:
    save(path, SteerableTCN(SteerableTCN.Settings(blocks=2, width=4, kernel_size=3), rngs=nnx.Rngs(seed)))
    return str(path)


def test_a_steered_model_has_auto_gain_unless_it_is_turned_off(tmp_path, monkeypatch):
    spec = BoxSpec("model", steered_network(tmp_path / "a.nafx", 1))
    found = made(spec, RATE, 1)
    assert [remark for remark in found.remarks if remark.startswith("auto-gain ")] and found.sample_rate == 44100
    off = made(replace(spec, settings={"auto_gain": False}), RATE, 1)
    assert not [remark for remark in off.remarks if "auto-gain" in remark]
    corner = np.array([1.0, 0.0, 0.5, 0.5], np.float32)  # two controls, two trims
    x = guitar_signal(RATE)[:9600]
    even, raw = (np.asarray(apply(box.effect, x, corner)) for box in (found, off))
    assert np.abs(even.mean()) < np.abs(raw.mean()) and np.isfinite(even).all()
    monkeypatch.setattr(boxes, "makeup_db", None)
    assert made(spec, RATE, 1).remarks == found.remarks, "it is measured once"


@pytest.mark.slow
def test_the_checkpoints_of_a_steered_model_share_a_program(tmp_path):
    workshop = build.Workshop(tmp_path)
    built = [
        workshop.order(Build(n, BoxSpec("model", steered_network(tmp_path / f"{n}.nafx", n)), 1, RATE, 64))
        for n in (1, 2)
    ]
    one, other = (each for each in built if isinstance(each, Built))
    assert one.program == other.program and other.cached and one.arrays != other.arrays


def test_the_workshop_measures_with_the_program_that_will_play(tmp_path):
    """Without compiling another one, and to the same figures."""
    spec, workshop = BoxSpec("model", network(tmp_path / "a.nafx", 3), {"level": "matched"}), build.Workshop(tmp_path)
    order = Build(1, spec, 2, RATE, 64)
    assert isinstance(built := workshop.order(order), Built), built
    assert built.cached and len(list(tmp_path.glob("*.program"))) == 1
    box = box_for(BoxSpec("model", spec.model), RATE, 2)
    played, applied = (loudness_db(box, RATE, play) for play in (partial(workshop._play, order), response))
    assert played == pytest.approx(applied, abs=0.01)
    assert (
        built.remarks
        == made(spec, RATE, 2).remarks
        == (f"output {-18 - applied:+.1f} dB, matched: measured {applied:.1f} dB",)
    )


def test_a_submodel_can_be_chosen(fixtures):
    path = str(fixtures / "models" / "nam" / "core_slimmable_container.nam")
    sizes = [boxes.parameters(box_for(BoxSpec("model", path, {"submodel": n}), RATE, 1)) for n in (-1, 0, 1, 2)]
    assert sizes[0] == sizes[3] and len(set(sizes)) == 3
    with pytest.raises(ValueError, match="submodel 7"):
        box_for(BoxSpec("model", path, {"submodel": 7}), RATE, 1)


def test_captures_of_one_architecture_share_a_program_whatever_their_levels(tmp_path):
    a, b = (network(tmp_path / f"{seed}.nafx", seed) for seed in (1, 2))
    specs = [BoxSpec("model", a, {"level": "matched"}), BoxSpec("model", b, {"polarity": "inverted"})]
    first, second = ([row.prepare(box_for(spec, RATE, 1))] for spec in specs)
    stream = {"channels": 1, "rate": RATE, "block": 64}
    structure = programs.structure(first, **stream)
    assert structure is not None and structure == programs.structure(second, **stream)


def test_the_workshop_builds_for_the_levels_of_the_card(tmp_path):
    """The same slot, another card: other numbers, not the remembered ones; and the same program."""
    path = linear(tmp_path / "a.nam", 0.5, input_level_dbu=IN_DBU)
    workshop, built = build.Workshop(tmp_path), []
    for ticket, card in enumerate(((None, None), (12.0, None), (12.0, None))):
        order = Build(ticket, BoxSpec("model", path), 1, RATE, 64, levels_dbu=card)
        built.append(workshop.order(order))
        assert isinstance(built[-1], Built), built[-1]
    plain, calibrated, again = built
    assert plain.program == calibrated.program and plain.arrays != calibrated.arrays == again.arrays
    assert (plain.input_db, calibrated.input_db, again.input_db) == (0.0, pytest.approx(-6.3), calibrated.input_db)
    assert again.cached and "audio.input_level_dbu" in plain.remarks[0]


def test_the_planner_builds_again_when_the_card_is_told():
    rig = Rig()
    rig.plan("a")
    rig.settle()
    rig.plan("a", stream=Stream(input_level_dbu=12.0))
    order = next(order for order in rig.orders if order.box.type == "a")
    assert order.levels_dbu == (12.0, None)
    rig.settle()


# --- a blend


def test_a_blend_of_two_files(tmp_path):
    louder, softer = linear(tmp_path / "a.nam", 0.8), linear(tmp_path / "b.nam", -0.4)
    found = made(BoxSpec("blend", settings={"model_a": louder, "model_b": softer}), RATE, 2)
    box = found.effect
    assert [knob.name for knob in box.knobs][:2] == ["mix", "a_input_db"] and box.channels == 2 and box.latency == 0
    assert "b is turned over; correlation 1.00, b is -6.0 dB" in found.remarks[-1]
    for mix, expected in ((0.0, 0.8), (0.5, 0.6), (1.0, 0.4)):
        places = default_positions(box)
        places[0] = mix
        y = np.asarray(apply(box, np.full((8, 2), 0.1, np.float32), places))
        np.testing.assert_allclose(y, 0.1 * expected, rtol=1e-3)
    as_is = made(BoxSpec("blend", settings={"model_a": louder, "model_b": softer, "polarity": "as they are"}), RATE, 1)
    assert float(apply(as_is.effect, np.full(8, 0.1, np.float32))[-1]) == pytest.approx(0.02, rel=1e-3)


def test_a_blend_without_files_is_the_dry_signal_and_files_of_other_rates_line_up(tmp_path):
    x = np.random.default_rng(1).uniform(-0.3, 0.3, 4000).astype(np.float32)
    np.testing.assert_allclose(apply(box_for(BoxSpec("blend"), RATE, 1), x), x, atol=1e-6)
    path = linear(tmp_path / "a.nam", 1.0, rate=44100)
    found = made(BoxSpec("blend", settings={"model_b": path}), RATE, 1)
    assert found.effect.latency > 10 and "b: trained at 44100 Hz, resampled to 48000 Hz" in found.remarks
    y = np.asarray(apply(found.effect, np.sin(np.arange(4000) * 0.1).astype(np.float32)))
    expected = np.sin((np.arange(4000) - found.effect.latency) * 0.1)
    np.testing.assert_allclose(y[400:], expected[400:], atol=0.01)


def test_a_blend_that_cannot_be_says_which_file(tmp_path):
    with pytest.raises(ValueError, match="gone.nam"):
        box_for(BoxSpec("blend", settings={"model_b": str(tmp_path / "gone.nam")}), RATE, 1)


def test_a_rack_with_a_blend_renders(tmp_path, monkeypatch):
    """racks.toml to a file: knobs of the files inside are known, the card's levels count, paths are beside the file."""
    folder = tmp_path / "home" / "config"
    folder.mkdir(parents=True)
    linear(folder / "a.nam", 0.8, input_level_dbu=IN_DBU)
    linear(folder / "b.nam", -0.4)
    (folder / "racks.toml").write_text(
        '[audio]\ninput_level_dbu = 12.3\n[racks.two]\nchannels = 1\n[[racks.two.slots]]\ntype = "blend"\n'
        'knobs = { mix = 0.0, a_output_db = "-6 dB" }\nsettings = { model_a = "a.nam", model_b = "b.nam" }\n'
    )
    x = (0.1 * np.sin(np.arange(9600) * 0.05)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", x, RATE, subtype="FLOAT")
    from .test_render import arguments

    render.main(arguments(tmp_path / "in.wav", tmp_path / "out.wav", rack="two"))
    y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert decibels(np.abs(y[2000:-2000]).max() / 0.08) == pytest.approx(12.3 - IN_DBU - 6.0, abs=0.1)


# --- racks.toml and keys

TOML = """
[audio]
input_level_dbu = 12
output_level_dbu = ""
[racks.one]
[[racks.one.slots]]
type = "model"
model = "a.nam"
settings = { level = "matched", delay_samples = 12, sample_rate = 44100 }
"""


def parsed(tmp_path, text: str = TOML):
    linear(tmp_path / "a.nam", 1.0)
    linear(tmp_path / "b.nam", 1.0)
    return config.parse(text.encode(), tmp_path / "racks.toml", catalogue())


def test_racks_toml_knows_levels(tmp_path):
    racks, problems = parsed(tmp_path)
    assert not problems and (racks.audio.input_level_dbu, racks.audio.output_level_dbu) == (12.0, None)
    assert racks.racks["one"].slots[0].settings["delay_samples"] == 12
    _, problems = parsed(tmp_path, TOML.replace('"matched"', '"machted"').replace("= 12\n", "= 99\n"))
    assert "must be one of raw, normalised, calibrated, matched; did you mean matched?" in str(problems[1])
    assert "must be a number of dBu from -60 to 60" in str(problems[0])


def test_a_knob_of_a_model_can_be_an_axis_of_the_pad(tmp_path):
    text = TOML.replace("[racks.one]\n", '[racks.one]\nxy = { x = "model.input_db", y = "" }\n')
    assert not parsed(tmp_path, text)[1]


def started(tmp_path):
    world = World(
        catalogue(),
        find=lambda name: str(tmp_path / name) if (tmp_path / name).is_file() else "",
        playable=lambda path: sorted(map(str, tmp_path.glob("*.nam"))),
    )
    return begin(parsed(tmp_path)[0]), world


def test_the_cards_levels_are_keys_and_are_saved(tmp_path):
    state, world = started(tmp_path)
    for value, expected in (("13.5 dBu", 13.5), (4, 4.0), ("", None), ("unknown", None), ("-3", -3.0)):
        state, _ = change(state, world, "audio.input_level_dbu", value)
        assert get(state, world, view(state, world), "audio.input_level_dbu") == expected
    for wrong in ("loud", 61, True, [1], float("nan")):
        with pytest.raises(ChangeError, match="must be a number of dBu"):
            change(state, world, "audio.input_level_dbu", wrong)
    path = tmp_path / "racks.toml"
    path.write_text(TOML)
    audio = replace(state.audio, input_level_dbu=None, output_level_dbu=4.5)
    tomlfile.save(path, config.Racks("one", audio, racks=state.file.racks), catalogue())
    again = config.load(path, catalogue())[0].audio
    assert (again.input_level_dbu, again.output_level_dbu) == (None, 4.5)


def test_slots_that_are_added_are_matched_and_a_new_file_forgets_the_old_ones_rate(tmp_path):
    state, world = started(tmp_path)
    state, _ = change(state, world, "slots.add", f"model {tmp_path / 'a.nam'}")
    state, _ = change(state, world, "slots.add", "blend")
    _, added, blend = state.scene.rack.slots
    assert added.settings == {"level": "matched"} and blend.settings == {"level_a": "matched", "level_b": "matched"}
    state, _ = change(state, world, "model.model.step", 1)
    stepped = state.scene.rack.slots[0]
    assert stepped.model.endswith("b.nam") and stepped.settings == {"level": "matched", "delay_samples": 12}
    state, _ = change(state, world, "model.level", "raw")
    assert state.scene.rack.slots[0].settings["level"] == "raw"
    state, _ = change(state, world, "blend.model_a", "a.nam")
    state, _ = change(state, world, "blend.model.step", 1)
    found = state.scene.rack.slots[2].settings
    assert found["model_a"] == str(tmp_path / "a.nam") and found["model_b"] == str(tmp_path / "a.nam")
    state, _ = change(state, world, "blend.model.step", 1)
    assert state.scene.rack.slots[2].settings["model_b"] == str(tmp_path / "b.nam")


def test_knobs_stay_known_while_a_model_is_built_with_other_settings(tmp_path):
    state, world = started(tmp_path)
    slot = state.scene.rack.slots[0]
    assert knobs(state, world, slot) == ()
    state = replace(state, facts={spec(slot).key(): Facts(knobs=(TRIM,))})
    for key, value in (("model.level", "raw"), ("model.input_db", "6 dB")):
        state, _ = change(state, world, key, value)
    assert state.scene.rack.slots[0].knobs == {"input_db": 6.0}
    other = replace(slot, model=slot.model + "x")
    assert knobs(state, world, other) == knobs(state, world, replace(other, type="blend")) == ()


# --- hints

TRIM = KnobInfo("input_db", "dB", -24.0, 24.0, 0.0)


def captures(trim_db: float = 0.0, input_db: float | None = 0.0, bypass: bool = False) -> list[SlotView]:
    amp = SlotView("amp", "model", (TRIM,), (trim_db,), bypass, input_db=input_db)
    return [SlotView("boost", "gain"), amp]


def hints(slots, levels_db, seconds=8, input_db=-20.0) -> tuple[str, ...]:
    """What is said after some seconds at these peaks behind each slot."""
    now = [0.0]
    heard = Hints(lambda: now[0])
    said: tuple[str, ...] = ()
    for _ in range(seconds * 4):
        now[0] += 0.25
        said = heard.update(slots, levels_db, input_db)
    return said


def test_a_capture_that_hears_more_than_full_scale_is_too_hot():
    assert hints(captures(), (3.0, -9.0))[0].startswith("amp: too hot")
    assert hints(captures(trim_db=24.0), (-20.0, -9.0))[0].startswith("amp: too hot")
    assert not hints(captures(trim_db=-6.0), (3.0, -9.0))
    assert not hints(captures(), (-3.0, 30.0))
    assert not hints(captures(bypass=True), (3.0, -9.0)) and not hints(captures(input_db=None), (3.0, -9.0))


def test_a_capture_that_hears_next_to_nothing_is_too_quiet_but_silence_and_pauses_are_not():
    assert hints(captures(), (-50.0, -9.0))[0].startswith("amp: too quiet")
    assert not hints(captures(), (-50.0, -9.0), seconds=3)
    assert not hints(captures(), (-90.0, -9.0)) and not hints(captures(trim_db=15.0), (-50.0, -9.0))
    assert not hints(captures(input_db=-6.3), (-50.0, -9.0)), "calibrated: the gear would hear no more"


def test_a_slot_that_does_not_play_is_passed_over():
    assert hints(captures(), (None, -9.0), input_db=4.0)[0].startswith("amp: too hot")
    assert not hints(captures(), (None, None), input_db=4.0)


# --- what a person sees


async def test_the_settings_dialog_offers_the_levels_and_says_what_was_found_out():
    from rack.ui.screens.settings import Settings as Form

    from .ui.stage import stage

    slot = SlotView(
        "amp", "model", model="/m/amp.nam", settings={"level": "matched"}, remarks=("captured at 18.3 dBu",)
    )
    async with stage(size=(100, 60)) as s:
        changes = []
        form = Form(slot, catalogue()["model"].settings)
        await s.app.push_screen(form, changes.append)
        await s.until(lambda: "captured at 18.3 dBu" in s.text and "calibrated" in s.text)
        form.query_one("#set-level").focus()
        await s.press("left", "tab", "right")
        await s.press("ctrl+s")
        await s.until(lambda: changes)
    assert changes == [{"level": "calibrated", "polarity": "inverted"}]


def test_the_status_says_what_was_done_and_what_to_do():
    from rack.protocol import Telemetry, View
    from rack.report import status

    shown = View("one", ("one",), (SlotView("amp", "model", remarks=("output +3.0 dB",)),))
    text = status(shown, Telemetry(hints=("amp: too hot",)))
    assert "output +3.0 dB" in text and "hint       amp: too hot" in text
