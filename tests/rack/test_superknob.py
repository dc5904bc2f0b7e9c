"""What the SuperKnob plays, what it says of its examples, and the workshop's order to train it."""

from __future__ import annotations

import math
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from rack import protocol
from rack.examples import Example, ExampleError, Examples, Mapping, at, check, fingerprint, glided, keys
from rack.protocol import Failed, Taught, Teach
from rack.superknob import HIDDEN, cones, confidence, monotone, outside, packed, player
from rack.workshop.build import Workshop

WARM, BRIGHT = (
    Example("warm", (0.2,), {"drive.gain": 0.3, "tone.cutoff": 0.1, "gate.on": 0.0}),
    Example("bright", (0.8,), {"drive.gain": 0.9, "tone.cutoff": 1.0, "gate.on": 1.0}),
)
TWO = Examples(1, (WARM, BRIGHT), switches=("gate.on",))


def pad(*points, knobs=("a", "b")):
    """Examples of a SuperKnob of two knobs: (x, y, values)."""
    named = (Example(str(i), point[:2], dict(zip(knobs, point[2], strict=True))) for i, point in enumerate(points))
    return Examples(2, tuple(named))


def taught(examples, tmp_path, mapping=None):
    return Workshop(tmp_path).order(Teach(5, examples, mapping))


# --- interpolation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_one_knob_is_interpolated_as_scipy_does(count):
    from scipy.interpolate import PchipInterpolator

    rng = np.random.default_rng(count)
    places, values = rng.uniform(size=count), rng.uniform(size=(count, 4))
    values[:, 3] = np.round(values[:, 3])  # plateaus
    order, line = np.argsort(places), np.linspace(0, 1, 200)
    curve = monotone(places, values)
    ours = np.array([curve(np.array([p])) for p in line])
    inside = np.clip(line, places.min(), places.max())
    theirs = PchipInterpolator(places[order], values[order])(inside) if count > 1 else np.tile(values, (200, 1))
    assert np.allclose(ours, theirs, atol=1e-12)


def test_two_knobs_are_interpolated_as_scipy_does_and_kept_in_range():
    from scipy.interpolate import RBFInterpolator

    rng = np.random.default_rng(0)
    places, values, asked = rng.uniform(size=(7, 2)), rng.uniform(size=(7, 3)), rng.uniform(size=(100, 2))
    curve = cones(places, values)
    theirs = RBFInterpolator(places, values, kernel="linear", degree=0)(asked)
    expected = np.clip(theirs, values.min(axis=0), values.max(axis=0))
    assert np.allclose([curve(p) for p in asked], expected, atol=1e-9)
    assert np.allclose([curve(p) for p in places], values, atol=1e-9)


def test_two_knobs_on_one_line_and_a_single_example():
    play = player(pad((0.1, 0.1, (0.0, 1.0)), (0.5, 0.5, (0.8, 0.2)), (0.9, 0.9, (0.4, 0.4))))
    assert math.isclose(play((0.3, 0.3))["a"], 0.4, abs_tol=1e-9)
    alone = player(pad((0.5, 0.5, (0.25, 0.75))))
    assert alone((0.0, 1.0)) == alone((0.5, 0.5)) == {"a": 0.25, "b": 0.75}


def test_a_knob_that_an_example_lacks_is_interpolated_between_those_that_have_it():
    third = Example("more", (0.5,), {"drive.gain": 0.6, "reverb.mix": 0.7})
    play = player(Examples(1, (WARM, BRIGHT, third)))
    at_half, at_start = play((0.5,)), play((0.2,))
    assert math.isclose(at_half["drive.gain"], 0.6) and math.isclose(at_half["tone.cutoff"], 0.55)
    assert math.isclose(at_start["reverb.mix"], 0.7)


def test_switches_follow_the_nearest_example_and_locked_knobs_are_left_alone():
    play = player(msgspec.structs.replace(TWO, locked=("tone.cutoff",)))
    assert [play((p,))["gate.on"] for p in (0.0, 0.49, 0.51, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    assert set(play((0.4,))) == {"drive.gain", "gate.on"}


@pytest.mark.parametrize("position", [(-3.0,), (7.0,), (math.nan,), (math.inf,)])
def test_positions_beyond_the_scale_count_as_its_end(position):
    play = player(TWO)
    assert play(position) == play((1.0,) if position[0] > 1 else (0.0,))


def test_examples_at_one_place_do_not_stop_the_sound():
    other = Example("again", (0.2,), {"drive.gain": 0.5})
    assert math.isclose(player(Examples(1, (WARM, BRIGHT, other)))((0.2,))["drive.gain"], 0.4)
    assert player(Examples())((0.5,)) == {}


# --- confidence -------------------------------------------------------------------------------------------------------


def test_confidence_falls_beyond_the_outermost_examples():
    assert [round(confidence(TWO, (p,)), 6) for p in (0.0, 0.2, 0.5, 0.8, 0.9)] == [0.6, 1.0, 1.0, 1.0, 0.8]
    assert confidence(Examples(), (0.5,)) == 0.0


def test_with_two_knobs_it_is_the_distance_from_their_hull():
    square = np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6], [0.4, 0.4], [0.4, 0.2]])
    told = [((0.4, 0.3), 0.0), ((0.6, 0.6), 0.0), ((0.9, 0.4), 0.3), ((0.9, 1.0), 0.5), ((0.0, 0.2), 0.2)]
    for place, distance in told:
        assert math.isclose(outside(square, np.array(place)), distance, abs_tol=1e-9)
    line = np.array([[0.2, 0.2], [0.4, 0.4], [0.6, 0.6]])
    assert math.isclose(outside(line, np.array([0.3, 0.3])), 0.0, abs_tol=1e-9)
    assert math.isclose(outside(line, np.array([0.0, 0.2])), 0.2) and outside(line[:1], line[0]) == 0


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        (Examples(), "no examples yet"),
        (Examples(3, (WARM,)), "1 or 2 knobs, not 3"),
        (Examples(2, (WARM,)), "'warm' has 1 position where this SuperKnob has 2"),
        (Examples(1, (WARM,), locked=tuple(WARM.values)), "all their knobs are locked"),
        (Examples(1, (Example("empty", (0.5,), {}),)), "hold no knobs"),
        (Examples(1, (Example("odd", (0.5,), {"drive.gain": math.nan}),)), "'odd': drive.gain is nan"),
        (Examples(1, (Example("odd", (math.nan,), {"drive.gain": 0.1}),)), "'odd': its position is nan"),
        (Examples(1, (Example("odd", (0.5,), {"drive.gain": 1.2}),)), "drive.gain is 1.2, not 0..1"),
        (Examples(1, (WARM, Example("same", (0.203,), {"drive.gain": 0.9}))), "'warm' and 'same' are both at 0.20"),
        (Examples(1, (Example("many", (0.5,), {f"a.{i}": 0.5 for i in range(65)}),)), "65 knobs; 64 is the most"),
        (Examples(1, tuple(Example(str(i), (i / 64,), {"a": 0.5}) for i in range(65))), "65 examples are more"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_named_in_a_sentence(examples, said, tmp_path):
    with pytest.raises(ExampleError, match=said):
        check(examples)
    answer = taught(examples, tmp_path)
    assert isinstance(answer, Failed) and answer.ticket == 5 and said in answer.error


def test_what_is_at_a_place_and_what_counts_for_training():
    assert at(TWO, (0.204,)) == 0 and at(TWO, (0.21,)) is None and at(Examples(), (0.5,)) is None
    assert keys(TWO) == ("drive.gain", "tone.cutoff", "gate.on") and glided(TWO) == ("drive.gain", "tone.cutoff")
    renamed = msgspec.structs.replace(BRIGHT, name="other", values={**BRIGHT.values, "gate.on": 0.0})
    assert fingerprint(TWO) == fingerprint(msgspec.structs.replace(TWO, examples=(renamed, WARM)))
    moved = msgspec.structs.replace(BRIGHT, position=(0.81,))
    assert fingerprint(TWO) != fingerprint(msgspec.structs.replace(TWO, examples=(WARM, moved)))
    check(msgspec.structs.replace(TWO, examples=(WARM, WARM, BRIGHT)))  # twice the same is no contradiction


# --- the mapping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [1, 2])
def test_a_mapping_plays_what_the_network_says_and_never_beyond_what_was_taught(knobs, tmp_path):
    from jaxmodels.superknob import Weights, drive

    rng = np.random.default_rng(knobs)
    points = [Example(str(i), tuple(rng.uniform(size=knobs)), {"a": rng.uniform(), "b": i % 2}) for i in range(4)]
    examples = Examples(knobs, tuple(points))
    answer = taught(examples, tmp_path)
    assert isinstance(answer, Taught) and answer.rmse < 0.005 and answer.seconds < 30 and answer.curve
    mapping, play = answer.mapping, player(examples, answer.mapping)
    assert mapping.made_from == fingerprint(examples) and mapping.keys == ("a", "b")
    sizes = np.cumsum([HIDDEN * 2, HIDDEN, 2 * HIDDEN])
    into, bias, out, offset = np.split(np.frombuffer(mapping.weights, np.float32), sizes)
    net = Weights(into.reshape(HIDDEN, 2), bias, out.reshape(2, HIDDEN), offset)
    asked = np.zeros((50, 2), np.float32)
    asked[:, :knobs] = rng.uniform(size=(50, knobs))
    said = np.clip(np.asarray(drive(net, asked)), mapping.low, mapping.high)
    heard = [list(play(place[:knobs].tolist()).values()) for place in asked]
    assert np.allclose(heard, said, atol=1e-5)
    for example, residual in zip(points, answer.residuals, strict=True):
        errors = [play(example.position)[key] - value for key, value in example.values.items()]
        assert math.isclose(math.sqrt(np.mean(np.square(errors))), residual, abs_tol=1e-5)


def test_an_older_mapping_plays_on_and_new_knobs_are_interpolated(tmp_path):
    answer = taught(TWO, tmp_path)
    assert isinstance(answer, Taught)
    more = Example("more", (0.5,), {"drive.gain": 0.1, "reverb.mix": 0.7})
    newer = msgspec.structs.replace(TWO, examples=(*TWO.examples, more), locked=("tone.cutoff",))
    play, before = player(newer, answer.mapping), player(TWO, answer.mapping)
    assert answer.mapping.made_from != fingerprint(newer)
    heard = play((0.5,))
    assert heard["drive.gain"] == before((0.5,))["drive.gain"] and heard["reverb.mix"] == 0.7
    assert "tone.cutoff" not in heard
    later = taught(newer, tmp_path, answer.mapping)
    assert isinstance(later, Taught) and later.rmse < 0.005 and not later.remarks
    assert later.mapping.keys == ("drive.gain", "reverb.mix")


def test_a_mapping_travels_and_is_kept_as_json(tmp_path):
    answer = taught(TWO, tmp_path)
    assert isinstance(answer, Taught)
    assert protocol.Reader(protocol.FromWorkshop).decode(protocol.frame(answer)[4:]) == answer
    order = Teach(1, TWO, answer.mapping)
    assert protocol.Reader(protocol.ToWorkshop).decode(protocol.frame(order)[4:]) == order
    assert msgspec.json.decode(msgspec.json.encode(answer.mapping), type=Mapping) == answer.mapping
    plain = msgspec.to_builtins(answer.mapping)  # as TOML has it: weights are one string
    assert isinstance(plain["weights"], str) and msgspec.convert(plain, Mapping) == answer.mapping


def test_switches_alone_need_no_network(tmp_path):
    alone = Examples(1, (Example("a", (0.1,), {"x": 0.0}), Example("b", (0.9,), {"x": 1.0})), switches=("x",))
    answer = taught(alone, tmp_path)
    assert isinstance(answer, Taught) and answer.residuals == (0.0, 0.0)
    assert player(alone, answer.mapping)((0.8,)) == {"x": 1.0}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (Mapping(1, ("drive.gain",), (0.0,), (1.0,), b"short"), "5 bytes instead of 260"),
        (Mapping(1, ("drive.gain",), (), (), packed(np.zeros(65))), "train it again"),
        (Mapping(1, ("drive.gain",), (0.0,), (1.0,), packed(np.full(65, np.nan))), "not finite"),
    ],
)
def test_a_damaged_mapping_is_refused_and_training_begins_anew(mapping, said, tmp_path):
    with pytest.raises(ExampleError, match=said):
        player(TWO, mapping)
    answer = taught(TWO, tmp_path, mapping)
    assert isinstance(answer, Taught) and answer.rmse < 0.005 and said in answer.remarks[0]


def test_another_number_of_knobs_begins_anew_and_is_interpolated_until_then(tmp_path):
    answer = taught(TWO, tmp_path)
    assert isinstance(answer, Taught)
    plane = pad((0.2, 0.3, (0.1, 0.2)), (0.8, 0.9, (0.9, 0.1)))
    assert math.isclose(player(plane, answer.mapping)((0.2, 0.3))["a"], 0.1)
    later = taught(plane, tmp_path, answer.mapping)
    assert isinstance(later, Taught) and later.rmse < 0.005 and "anew" in later.remarks[0]


def test_more_examples_than_it_can_meet_are_said_to_be_missed(tmp_path):
    rng = np.random.default_rng(1)
    crowd = Examples(1, tuple(Example(f"n{i}", (i / 39,), {"a": rng.uniform()}) for i in range(40)))
    answer = taught(crowd, tmp_path)
    assert isinstance(answer, Taught) and len(answer.remarks) == 1
    worst = int(np.argmax(answer.residuals))
    assert answer.remarks[0].startswith(f"'n{worst}' is missed by") and "interpolation" in answer.remarks[0]


def test_playing_loads_no_jax_and_the_messages_no_numpy():
    for module, never in (("rack.protocol", "numpy"), ("rack.superknob", "jax")):
        code = f"import sys, {module}; sys.exit({never!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
