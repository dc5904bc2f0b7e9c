"""Reading pairs and folders, dividing without leaks, cutting into segments."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from trainer import data, folders
from trainer.config import TrainerError

RATE = 44100


@pytest.fixture(scope="module")
def sound():
    """Three seconds of hits into a resonance, and what a soft clipper makes of them."""
    rng = np.random.default_rng(0)
    dry = rng.normal(size=3 * RATE) * np.exp(-8 * (np.arange(3 * RATE) / RATE % 0.37))
    dry = (0.1 * dry).astype(np.float32)
    return dry, np.tanh(6 * dry).astype(np.float32) * 0.5


@pytest.fixture
def put(tmp_path):
    """`put(name, x)` writes a sound file and answers its path."""

    def write(name, x, rate=RATE, subtype=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, x, rate, subtype=subtype)
        return str(path)

    return write


def pairs_of(*lengths, **fields):
    """Pairs whose samples say where they come from: the dry ones the time, the wet ones time and file."""
    for number, length in enumerate(lengths):
        t = np.arange(length, dtype=np.float32)
        yield data.Pair(t, t + 1e6 * number, RATE, **fields)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", None)]
)
def test_formats(put, sound, ending, subtype):
    dry, wet = sound
    pair = data.read_pair(put(f"dry.{ending}", dry, subtype=subtype), put(f"wet.{ending}", wet, subtype=subtype))
    assert pair.rate == RATE and pair.dry.dtype == pair.wet.dtype == np.float32
    np.testing.assert_allclose(pair.dry, dry, atol=1e-4)
    np.testing.assert_allclose(pair.wet, wet, atol=1e-4)


def test_another_rate(put, sound):
    dry, wet = sound
    pair = data.read_pair(put("dry.wav", dry), put("wet.wav", wet), rate=48000)
    assert pair.rate == 48000 and len(pair.dry) == len(pair.wet) == 3 * 48000
    assert np.sqrt(np.mean(pair.dry**2)) == pytest.approx(np.sqrt(np.mean(dry**2)), rel=0.1)


def test_latency_is_taken_out(put, sound):
    dry, wet = sound
    late = np.concatenate([np.zeros(700, np.float32), wet])
    pair = data.read_pair(put("dry.wav", dry), put("wet.wav", late, subtype="FLOAT"))
    assert abs(pair.delay - 700) <= 2 and len(pair.dry) == len(pair.wet)
    assert [f.kind for f in pair.findings if f.severity != "note"] == []
    by_hand = data.read_pair(put("dry.wav", dry), put("wet.wav", late, subtype="FLOAT"), delay=700)
    np.testing.assert_array_equal(by_hand.wet, wet)


def test_a_bad_pair_is_refused_unless_it_is_to_be_trained_anyway(put, sound):
    dry, wet = sound
    paths = put("dry.wav", dry), put("wet.wav", wet[::-1])
    with pytest.raises(TrainerError, match="wet.wav: cannot be learned from .*\n  the wet file does not follow"):
        data.read_pair(*paths)
    pair = data.read_pair(*paths, force=True)
    assert len(pair.dry) == len(dry) and pair.findings[0].kind == "unaligned"


def test_files_that_are_no_sound(tmp_path, put, sound):
    dry = put("dry.wav", sound[0])
    (tmp_path / "text.wav").write_text("not a sound")
    put("nothing.wav", np.zeros(0))
    put("nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
    for name, said in (
        ("text", "cannot be read"),
        ("none", "there is no such file"),
        ("nothing", "no sound"),
        ("nan", "not num"),
    ):
        with pytest.raises(TrainerError, match=f"{name}.wav: .*{said}"):
            data.read_pair(dry, str(tmp_path / f"{name}.wav"))


def test_further_inputs_come_along(put, sound):
    dry, wet = sound
    lfo = np.sin(np.arange(len(dry)) / 9000).astype(np.float32)
    both = put("both.wav", np.stack([dry, lfo], axis=1), subtype="FLOAT")
    late = put("wet.wav", np.concatenate([np.zeros(500, np.float32), wet]), subtype="FLOAT")
    pair = data.read_pair(both, late, control="channels")
    assert pair.control is not None and pair.control.shape == (len(pair.dry), 1)
    np.testing.assert_array_equal(pair.dry, dry[: len(pair.dry)])
    np.testing.assert_array_equal(pair.control[:, 0], lfo[: len(pair.dry)])
    apart = data.read_pair(put("dry.wav", dry), late, control=put("lfo.wav", lfo, subtype="FLOAT"))
    np.testing.assert_array_equal(apart.control, pair.control)
    with pytest.raises(TrainerError, match="as long as the dry file"):
        data.read_pair(put("dry.wav", dry), late, control="channels")


# --- folders ----------------------------------------------------------------------------------------------------------


def test_knobs_from_a_table(put, sound, tmp_path):
    dry, wet = sound
    put("d.wav", dry), put("a.wav", wet), put("b.wav", wet)
    (tmp_path / "takes.csv").write_text(
        "dry, wet, part, gain [0..10], tone\nd.wav,a.wav,train,2.5,0\nd.wav,b.wav,val,10,1\n"
    )
    a, b = data.read_folder(str(tmp_path))
    assert (a.knobs, a.part) == ({"gain": 0.25, "tone": 0.0}, "train")
    assert (b.knobs, b.part) == ({"gain": 1.0, "tone": 1.0}, "validation")
    assert a.ranges == {"gain": (0, 10), "tone": (0, 1)}


def test_knobs_from_names(put, sound, tmp_path):
    dry, wet = sound
    put("klon_dry.wav", dry)
    for name in ("gain000_tone0.5", "gain025_tone0.5", "gain100_tone1"):
        put(f"klon_wet_{name}.wav", wet)
    put("other_dry.wav", dry), put("other_wet_drive7.wav", wet)
    pairs = data.read_folder(str(tmp_path), match="klon*")
    assert [pair.knobs["gain"] for pair in pairs] == [0, 0.25, 1]
    assert [pair.knobs["tone"] for pair in pairs] == [0.5, 0.5, 1]
    with pytest.raises(
        TrainerError, match="other_wet_drive7.wav: has the knobs drive; other files of .* have gain, tone"
    ):
        data.read_folder(str(tmp_path))


def test_knobs_beyond_one_span_what_was_recorded_or_what_is_said(put, sound, tmp_path):
    put("dry.wav", sound[0])
    for name in ("drive2", "drive6", "drive10"):
        put(f"wet-{name}.wav", sound[1])
    order = sorted(pair.knobs["drive"] for pair in data.read_folder(str(tmp_path)))
    assert order == [0, 0.5, 1]
    order = sorted(pair.knobs["drive"] for pair in data.read_folder(str(tmp_path), ranges={"drive": (0, 10)}))
    assert order == pytest.approx([0.2, 0.6, 1])
    with pytest.raises(TrainerError, match="drive = 10 lies outside of its range 0..8"):
        data.read_folder(str(tmp_path), ranges={"drive": (0, 8)})


def test_names_of_the_superknob(put, sound, tmp_path):
    put("egtr-input.wav", sound[0])
    for value in ("0", "0.25", "1.0"):
        put(f"{value}-egtr-target.wav", sound[1])
    pairs = data.read_folder(str(tmp_path))
    assert [pair.knobs for pair in pairs] == [{"param": 0.0}, {"param": 0.25}, {"param": 1.0}]


def test_layout_of_coreaudioml(put, sound, tmp_path):
    dry, wet = sound
    knob = np.repeat([0.0, 0.5], [len(dry) // 2, len(dry) - len(dry) // 2])
    for part in ("train", "val", "test"):
        put(f"{part}/amp-input.wav", np.stack([dry, knob], axis=1), subtype="FLOAT")
        put(f"{part}/amp-target.wav", wet, subtype="FLOAT")
    pairs = data.read_folder(str(tmp_path))
    assert sorted(pair.part for pair in pairs) == ["test", "train", "validation"]
    np.testing.assert_array_equal(pairs[0].control[:, 0], knob.astype(np.float32))
    divided = data.split(pairs)
    assert [len(part) for part in divided] == [1, 1, 1] and divided.test[0].name.endswith("test/amp-target.wav")


def test_layout_of_signaltrain(put, sound, tmp_path):
    info = "[effect]\nname = LA2A\nknob_names = ['Limit', 'Peak']\nknob_ranges = [[0,1], [0,100]]\n"
    (tmp_path / "effect_info.ini").write_text(info)
    for part, number, setting in (("Train", 138, "0__65"), ("Test", 235, "1__100")):
        put(f"{part}/input_{number}_.wav", sound[0]), put(f"{part}/target_{number}_LA2A_2c__{setting}.wav", sound[1])
    test, train = sorted(data.read_folder(str(tmp_path)), key=lambda pair: pair.part)
    assert train.part == "train" and train.knobs == {"Limit": 0, "Peak": 0.65}
    assert test.part == "test" and test.knobs == {"Limit": 1, "Peak": 1}


@pytest.mark.parametrize(
    ("files", "table", "said"),
    [
        ((), "", "no pairs of recordings"),
        (("dry.wav",), "", "no pairs of recordings"),
        (("0.5-amp-target.wav",), "", "amp-input.wav: is missing"),
        (("dry.wav",), "wet,gain\ngone.wav,1\n", "gone.wav: is missing"),
        (("dry.wav", "wet.wav"), "wet,gain\nwet.wav,loud\n", "line 2: gain: 'loud' is no number"),
        (("dry.wav", "wet.wav"), "wet,part\nwet.wav,all\n", "part 'all'; must be train"),
        (("dry.wav", "wet_a5.wav"), "", "the range of a is empty"),
    ],
)
def test_folders_that_cannot_be_read_say_why(put, sound, tmp_path, files, table, said):
    for name in files:
        put(name, sound[0])
    if table:
        (tmp_path / "takes.csv").write_text(table)
    with pytest.raises(TrainerError, match=said):
        data.read_folder(str(tmp_path))
    with pytest.raises(TrainerError, match="is no folder"):
        data.read_folder(str(tmp_path / "nowhere"))


def test_the_klon_of_the_fixtures(fixtures):
    found, _ = folders.entries(str(fixtures / "audio/dev"), "klon_wet_*")
    assert [entry.knobs["gain"] for entry in found] == [0, 0.25, 0.5, 0.75, 1]
    assert {entry.dry.name for entry in found} == {"klon_dry.wav"}


def test_the_flanger_of_the_fixtures(fixtures):
    folder = fixtures / "vectors/pairs"
    name = "coreaudioml_KDonnerFlangerra12c12rg9Singles1-{}.wav"
    (pair,) = data.read_folder(str(folder), match=name.format("target"))
    assert pair.control is not None and pair.control.shape == (441000, 1) and pair.delay == 0
    source, _ = soundfile.read(folder / name.format("input"), dtype="float32")
    np.testing.assert_array_equal(pair.control[:, 0], source[:, 1])


# --- parts ------------------------------------------------------------------------------------------------------------


def test_nothing_leaks_from_one_part_into_another():
    done = data.split(list(pairs_of(1000, 1000, 800)), 0.2, 0.1)
    for train, validation, test in zip(*done, strict=True):
        assert train.dry[-1] < validation.dry[0] <= validation.dry[-1] < test.dry[0]
        assert len(train.dry) + len(validation.dry) + len(test.dry) in (1000, 800)
        np.testing.assert_array_equal(
            np.unique(validation.wet - validation.dry), validation.wet[:1] - validation.dry[:1]
        )
    first, second = done.validation[:2]
    np.testing.assert_array_equal(first.dry, second.dry, "the same times are held out at every setting")


def test_context_leads_into_a_part_and_is_not_learned_from():
    done = data.split(list(pairs_of(1000)), 0.2, 0.1, context=50)
    (validation,), (test,) = done.validation, done.test
    assert (validation.lead, validation.dry[0], len(validation.dry)) == (50, 650, 250)
    assert (test.lead, test.dry[0]) == (50, 850)
    assert data.segments(validation, 100).dry[:, 0].tolist() == [700, 800]
    assert done.train[0].lead == 0


def test_pieces_are_divided_whole_and_spread():
    done = data.split(list(pairs_of(20 * 100 + 30, piece=100)), 0.1, 0.2)
    numbers = [set((part[0].dry // 100).astype(int)) for part in done]
    assert numbers[2] == {4, 9, 14, 19}, "every fifth"
    assert len(numbers[1]) == 2 and len(numbers[0]) == 14 and len(set.union(*numbers)) == 20
    assert all(len(part[0].dry) % 100 == 0 for part in done)


@pytest.mark.parametrize(("validation", "test"), [(1.0, 0.0), (0.5, 0.5), (-0.1, 0.0)])
def test_a_split_leaves_something_to_learn_from(validation, test):
    with pytest.raises(TrainerError, match="must leave a rest"):
        data.split(list(pairs_of(1000)), validation, test)
    with pytest.raises(TrainerError, match="0 recordings"):
        data.split([])


def test_segments_stack_pairs_with_their_knobs():
    pairs = [pair._replace(knobs={"gain": 0.1 * n, "tone": 1.0}) for n, pair in enumerate(pairs_of(1000, 550))]
    cut = data.segments(pairs, 200)
    assert cut.dry.shape == cut.wet.shape == (7, 200) and cut.knobs.shape == (7, 2) and cut.control.shape == (7, 200, 0)
    np.testing.assert_allclose(cut.knobs[:, 0], [0] * 5 + [0.1] * 2)
    np.testing.assert_array_equal(cut.wet[5:] - cut.dry[5:], 1e6)
    assert data.knob_names(pairs) == ["gain", "tone"]


def test_segments_never_cross_from_piece_to_piece():
    cut = data.segments(list(pairs_of(1000, piece=250)), 100)
    assert cut.dry[:, 0].tolist() == [0, 100, 250, 350, 500, 600, 750, 850]


def test_a_recording_too_short_for_a_segment_says_so():
    with pytest.raises(TrainerError, match="1000 samples is shorter than one segment of 2000"):
        data.segments(list(pairs_of(1000)), 2000)


def test_knobs_must_be_the_same_everywhere():
    a, b = pairs_of(100, 100)
    with pytest.raises(TrainerError, match="has knobs none; the other recordings have: gain"):
        data.knob_names([a._replace(knobs={"gain": 0.0}), b])
