"""Each kind of bad pair is caught with its own message, good ones pass, and real recordings are recognised."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from tests.variants import slow_except
from trainer import align, checks, sound
from trainer.config import TrainerError
from trainer.sound import Recording

RATE = 44100


@pytest.fixture(scope="module")
def dry():
    """Twelve seconds of plucked chords with rests, no two alike."""
    rng, x = np.random.default_rng(1), np.zeros(12 * RATE)
    t = np.arange(round(0.8 * RATE)) / RATE
    for at in np.arange(0.5, 10.2, 0.4):
        if 5 < at < 6.6:
            continue
        pitches, start = rng.uniform(80, 900, 3), round(at * RATE)
        chord = sum(np.sin(2 * np.pi * f * k * t) * np.exp(-k * 3 * t) / k for f in pitches for k in range(1, 8))
        x[start : start + len(t)] += rng.uniform(0.05, 0.25) * chord * np.minimum(1, t / 0.002)
    return (0.6 * x / np.abs(x).max()).astype(np.float32)


def device(x, drive=12.0):
    """A low-pass and a soft clipper: what most pairs hold."""
    smooth = np.convolve(x, [0.3, 0.4, 0.2, 0.1])[: len(x)]
    return (0.5 * np.tanh(drive * smooth)).astype(np.float32)


def recording(x, rate=RATE, name="a.wav"):
    return Recording(np.asarray(x, np.float32).reshape(len(x), -1), rate, name)


def examine(dry, wet, rate=RATE, wet_rate=None, **options):
    return checks.examine(recording(dry, rate), recording(wet, wet_rate or rate, "wet.wav"), **options)


def kinds(report):
    return {finding.kind: finding.severity for finding in report.findings}


def test_a_good_pair_passes(dry):
    report = examine(dry, device(dry))
    assert kinds(report) == {} and report.delay == 0
    np.testing.assert_array_equal(report.dry, dry)


def test_every_finding_says_why_and_what_to_do(dry):
    for finding in examine(dry, np.roll(device(dry), -1000)).findings + examine(dry, 0 * dry).findings:
        assert finding.message and finding.reason and finding.remedy
        assert str(finding) == f"{finding.message}; {finding.reason}; {finding.remedy}"


@pytest.mark.parametrize("late", slow_except([30, 60_000], [30, 920, 7060, 60_000]))
def test_latency_is_found_and_taken_out(dry, late):
    wet = np.concatenate([np.zeros(late), device(dry)])[: len(dry)]
    report = examine(dry, wet)
    assert kinds(report)["latency"] == "note" and not report.bad
    assert 0 <= late - report.delay <= 4, "never more than there is"
    again = examine(report.dry, report.wet)
    assert "latency" not in kinds(again)


def test_latency_of_noise_and_of_an_upside_down_fuzz(dry):
    rng = np.random.default_rng(0)
    wet = -np.concatenate([np.zeros(500), np.sign(dry) * np.abs(dry) ** 0.2])[: len(dry)]
    report = examine(dry, 0.3 * wet + 1e-3 * rng.normal(size=len(dry)))
    assert abs(report.delay - 500) <= 8 and kinds(report)["polarity"] == "note"
    assert report.alignment.polarity == -1


def test_small_lags_are_left_to_the_network(dry):
    assert examine(dry, np.concatenate([np.zeros(12), device(dry)])).delay == 0


def test_a_delay_given_by_hand_is_taken(dry):
    wet = np.concatenate([np.zeros(300), device(dry)])
    assert kinds(examine(dry, wet, delay=300)) == {}
    report = examine(dry, wet, delay=0)
    assert report.delay == 0 and kinds(report) == {"late": "warning"} and "301 samples" in str(report.findings[0])
    too_much = examine(dry, wet, delay=450)
    assert kinds(too_much) == {"negative delay": "bad"} and "once the delay of 450" in str(too_much.findings[0])
    ahead = examine(np.concatenate([np.zeros(1000), dry]), device(dry), delay=-1000)
    assert kinds(ahead) == {} and len(ahead.dry) == len(dry)
    with pytest.raises(TrainerError, match="delay 'soon'"):
        examine(dry, wet, delay="soon")


def test_a_wet_signal_ahead_of_the_dry_one(dry):
    report = examine(np.concatenate([np.zeros(800), dry]), device(dry))
    found = {f.kind: f for f in report.findings}
    assert found["negative delay"].severity == "bad" and report.delay == 0
    assert "before the dry one" in found["negative delay"].message and "-80" in found["negative delay"].remedy


def test_a_lag_that_is_not_causal(dry):
    report = examine(np.concatenate([np.zeros(40), dry]), device(dry))
    assert kinds(report)["non-causal lag"] == "warning" and not report.bad


def test_clipping(dry):
    report = examine(dry, np.clip(20 * device(dry), -1, 1))
    found = {f.kind: f for f in report.findings}
    assert found["clipping"].severity == "bad" and "the wet file is cut off" in found["clipping"].message
    assert "the dry file is cut off" in str(examine(np.clip(8 * dry, -1, 1), device(dry)).findings)
    assert "clipping" not in kinds(examine(dry, 0.8 * np.clip(20 * dry, -1, 1))), "a fuzz may be flat below full scale"


def test_silence(dry):
    wet = examine(dry, np.zeros_like(dry))
    assert kinds(wet)["silence"] == "bad" and "the wet file is silent" in str(wet.bad[0])
    assert "the dry file is silent" in str(examine(np.zeros_like(dry), dry).bad[0])
    short = examine(dry[: 5 * RATE], np.zeros(5 * RATE))
    assert list(kinds(short)) == ["silence", "short"], "the worst first"


def test_quiet(dry):
    report = examine(dry, 1e-3 * device(dry))
    assert kinds(report)["quiet"] == "warning" and "66 dB below full scale" in str(report.findings[0])


def test_offset(dry):
    assert kinds(examine(dry, device(dry) + 0.02))["offset"] == "warning"


def test_rates_that_differ_are_converted(dry):
    wet = soxr.resample(device(dry), RATE, 48000, quality="VHQ")
    report = examine(dry, wet, wet_rate=48000)
    assert kinds(report) == {"rate mismatch": "warning"}
    assert report.rate == RATE and np.abs(report.wet - device(dry)[: len(report.wet)]).max() < 0.02
    assert examine(dry, wet, wet_rate=48000, rate=48000).rate == 48000


def test_a_header_that_lies_about_the_rate(dry):
    same = examine(dry, device(dry), wet_rate=48000)
    assert kinds(same)["rate mismatch"] == "bad" and "same number of samples" in str(same.bad[0])
    wrong = examine(dry, soxr.resample(device(dry), RATE, 48000))
    assert kinds(wrong)["rate mismatch"] == "bad" and "sounds like 48000 Hz" in str(wrong.bad[0])


def test_channels_that_differ(dry):
    both = np.stack([device(dry), device(dry, 1.0)], axis=1)
    report = examine(dry, both)
    assert kinds(report)["channel mismatch"] == "warning" and "the wet file has 2 channels" in str(report.findings[0])
    np.testing.assert_array_equal(report.wet, device(dry))
    right = checks.examine(recording(np.stack([dry] * 2, axis=1)), recording(both), channel="right")
    assert "channel mismatch" not in kinds(right) and not np.array_equal(right.wet, report.wet)
    assert kinds(examine(dry, np.stack([device(dry)] * 2, axis=1))) == {}, "one signal twice is mono"
    one_sided = examine(dry, np.stack([0 * dry, device(dry)], axis=1))
    assert not one_sided.bad, "a recording on the right input is used"
    for channel, said in ((2, "has no channel 2"), ("centre", "must be auto, left")):
        with pytest.raises(TrainerError, match=said):
            examine(both, both, channel=channel)  # type: ignore[arg-type]


def test_lengths_that_differ(dry):
    assert kinds(examine(dry, device(dry)[: 9 * RATE]))["length mismatch"] == "warning"
    assert kinds(examine(dry, device(dry)[: 5 * RATE]))["length mismatch"] == "bad"
    short = examine(dry[:20000], device(dry)[:20000])
    assert kinds(short)["too short"] == "bad" and "0.45 s" in str(short.bad[0])
    assert kinds(examine(dry[: 5 * RATE], device(dry)[: 5 * RATE]))["short"] == "note"


@pytest.mark.parametrize(("ppm", "severity"), [(10, "warning"), (100, "bad")])
def test_clocks_that_run_apart(dry, ppm, severity):
    wet = soxr.resample(device(dry).astype(np.float64), 1.0, 1 + ppm * 1e-6, quality="VHQ")
    report = examine(dry, wet)
    assert kinds(report) == {"drift": severity}
    assert report.alignment.drift == pytest.approx(ppm * 1e-6, rel=0.1, abs=2e-6)


def test_tape_that_wobbles(dry):
    times = np.arange(len(dry))
    wet = np.interp(times - 5 - 4 * np.sin(2 * np.pi * 0.9 * times / RATE), times, device(dry))
    assert kinds(examine(dry, wet))["wobble"] == "warning"


def test_takes_that_do_not_belong_together(dry):
    report = examine(dry, device(dry)[::-1])
    assert kinds(report)["unaligned"] == "bad" and "does not follow" in str(report.bad[0])


def test_noise(dry):
    hiss = np.random.default_rng(2).normal(size=len(dry))
    size = np.sqrt(np.mean(device(dry) ** 2))
    assert kinds(examine(dry, device(dry) + 0.2 * size * hiss))["noise"] == "warning"
    assert kinds(examine(dry, device(dry) + size * hiss))["noise"] == "bad"
    assert "noise" not in kinds(examine(dry, device(dry) + 0.01 * size * hiss))


def test_dropouts(dry):
    gone = device(dry)
    gone[7 * RATE : 10 * RATE] = 0
    report = examine(dry, gone)
    assert kinds(report)["dropouts"] == "bad" and "dead for" in str(report.bad[0])


def test_nothing_in_the_loop(dry):
    report = examine(dry, 0.5 * dry)
    assert kinds(report) == {"gain only": "note"} and "-6.0 dB" in str(report.findings[0])
    assert kinds(examine(dry, dry)) == {"same sound": "bad"}, "the same file twice"


def test_pieces(dry):
    parts = np.random.default_rng(3).permutation(len(dry) // 5000)
    cut = np.concatenate([dry[at * 5000 : (at + 1) * 5000] + 0.02 * (-1) ** at for at in parts])
    report = examine(cut, device(cut))
    assert kinds(report)["pieces"] == "warning" and checks.piece_length(cut) == 5000
    assert checks.piece_length(dry) == 0


def test_odd_input_never_crashes():
    rng = np.random.default_rng(0)
    for x, y in (
        (np.ones(RATE), np.ones(RATE)),
        (np.eye(1, RATE)[0], np.eye(1, RATE, 100)[0]),
        (rng.normal(size=RATE), np.full(RATE, 1e30)),
        (np.array([0.5]), np.array([0.5])),
    ):
        assert isinstance(examine(x, y).findings, list)


# --- real recordings --------------------------------------------------------------------------------------------------

SEEN = {
    "bigmuff_p030": set(),
    "saturator_p025": set(),
    "saturator_p085": set(),
    "overdrive_drive100_bright100": set(),
    "pultec_p012_062": set(),
    "la2a_pr100": set(),
    "reverb_hall_gtr": set(),
    "cl1b_heavy": {"gain only"},
    "la2a_pr40_limit": {"gain only"},
    "neutron_od_p030_040": {"polarity"},
    "neutron_od_p090_060": {"polarity"},
    "od300_p025_075": {"non-causal lag"},
    "od300_p075_025": {"non-causal lag"},
    "tape_70": {"wobble"},
    "tape_109": {"wobble"},
}


@pytest.mark.parametrize("name", SEEN)
def test_real_pairs_are_seen_for_what_they_are(fixtures, name):
    folder = fixtures / "audio/dev"
    if not (folder / f"{name}_wet.wav").is_file():
        pytest.skip(f"no recording of {name}")
    report = checks.examine(sound.read(str(folder / f"{name}_dry.wav")), sound.read(str(folder / f"{name}_wet.wav")))
    assert set(kinds(report)) - {"short"} == SEEN[name] and not report.bad
    assert report.delay == 0, "they were aligned by hand"


@pytest.mark.parametrize(("name", "late"), [("od300_p025_075", 1500), ("neutron_od_p090_060", 920), ("tape_70", 7060)])
def test_real_pairs_are_aligned(fixtures, name, late):
    folder = fixtures / "audio/dev"
    dry, wet = (sound.read(str(folder / f"{name}_{which}.wav")) for which in ("dry", "wet"))
    aligned = align.find(dry.samples[:, 0], wet.samples[:, 0], dry.rate)
    moved = np.concatenate([np.zeros(late, np.float32), wet.samples[:, 0]])
    again = align.find(dry.samples[:, 0], moved, dry.rate)
    assert again.lag == pytest.approx(aligned.lag + late, abs=1) and again.confidence > 0.9


def test_the_tape_with_its_latency(fixtures):
    folder = fixtures / "vectors/pairs"
    dry, wet = (sound.read(str(folder / f"tape_maxell75_84_{which}.wav")) for which in ("input", "target"))
    report = checks.examine(dry, wet)
    assert set(kinds(report)) == {"short", "latency", "wobble"} and report.delay == pytest.approx(7060, abs=16)


def test_the_klon_is_made_of_pieces(fixtures):
    folder = fixtures / "audio/dev"
    dry, wet = (sound.read(str(folder / f"klon_{which}.wav")) for which in ("dry", "wet_gain050"))
    dry, wet = (one._replace(samples=one.samples[: 30 * RATE]) for one in (dry, wet))
    assert set(kinds(checks.examine(dry, wet))) == {"clipping", "offset", "pieces", "polarity"}
    assert checks.piece_length(dry.samples[:, 0]) == 11025


def test_the_list_can_be_printed(dry, tmp_path, capsys):
    dry = dry[: 10 * RATE]
    for name, x in (("dry", dry), ("wet", device(dry)), ("other", device(dry)[::-1])):
        sound.write(str(tmp_path / f"{name}.wav"), x, RATE)
    assert checks.main([str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav")]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert checks.main([str(tmp_path / "dry.wav"), str(tmp_path / "other.wav"), "--json"]) == 1
    assert '"kind": "unaligned"' in capsys.readouterr().out
    assert checks.main([str(tmp_path / "dry.wav"), str(tmp_path / "none.wav")]) == 1
    assert "none.wav: there is no such file" in capsys.readouterr().err
