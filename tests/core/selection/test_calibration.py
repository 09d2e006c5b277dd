"""Earlier scores as a yardstick, against numpy and scipy."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.stats import kstest, percentileofscore

from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.calibration import LATEST_RUNS, Calibration
from uncertainty_nodes.core.selection.collecting import collect, update
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.selection.settings import common_settings

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD
values = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


def fit(scores, direction=HIGH, quantity="denoised", **made):
    return Calibration.fit([torch.as_tensor(scores)], direction, quantity, [{"model": "tiny", **made}])


@given(values, st.floats(0, 100))
def test_threshold_is_numpys_percentile_of_badness(scores, percent):
    assert fit(scores).threshold_at(percent) == pytest.approx(np.percentile(scores, percent))
    assert fit(scores, LOW).threshold_at(percent) == pytest.approx(-np.percentile(-np.array(scores), percent))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(0, 100), st.integers(0, 29))
def test_images_that_were_stopped_count_as_the_worst(scores, percent, stopped):
    """Where the worst were stopped, the limit is that of all images, as far as it can be known; else all that were finished pass."""
    ranked, stopped = sorted(scores), min(stopped, len(scores) - 1)
    finished = ranked[: len(ranked) - stopped]
    of_all = np.percentile(scores, percent) if percent / 100 * (len(scores) - 1) <= len(finished) - 1 else finished[-1]
    assert Calibration.fit([torch.tensor(finished).double()], HIGH, "denoised", stopped=stopped).threshold_at(percent) == pytest.approx(
        of_all
    )
    low = Calibration.fit([-torch.tensor(finished).double()], LOW, "noise", stopped=stopped)
    assert low.threshold_at(percent) == pytest.approx(-of_all) and len(low) == len(scores)


@given(values, st.integers(-6, 6))
def test_percentile_is_scipys_mean_percentile_of_badness(scores, score):
    assert fit(scores).percentile_of(score) == pytest.approx(percentileofscore(scores, score, kind="mean"))
    assert fit(scores, LOW).percentile_of(score) == pytest.approx(percentileofscore(-np.array(scores), -score, kind="mean"))


def test_runs_join_in_any_order_and_what_is_not_finite_is_left_out():
    runs = [torch.tensor([3.0, math.nan]), torch.tensor([1.0, math.inf, 2.0], dtype=torch.float16)]
    assert Calibration.fit(runs, HIGH, "denoised").scores.tolist() == [1, 2, 3]
    merged = fit([2.0, 9.0]).merge(fit([4.0]))
    assert merged.scores.tolist() == [2, 4, 9]
    assert merged.provenance == ({"model": "tiny"},) * 2
    assert len(merged) == 3


def test_save_and_load(tmp_path):
    before = fit(torch.rand(7), LOW, "noise")
    before.save(tmp_path / "c.safetensors")
    after = Calibration.load(tmp_path / "c.safetensors")
    assert torch.equal(after.scores, before.scores)
    assert (after.direction, after.quantity, after.provenance) == (LOW, "noise", ({"model": "tiny"},))


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.zeros(1)}, {}),
        ({"scores": torch.zeros(1)}, {"direction": "sideways", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.tensor([2.0, 1.0])}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.tensor([math.nan])}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
    ],
)
def test_a_file_with_other_contents_is_refused(tmp_path, tensors, metadata):
    save_tensors(tmp_path / "c", tensors, "calibration", 1, metadata)
    with pytest.raises(ValueError, match="calibration|sideways"):
        Calibration.load(tmp_path / "c")


def test_a_foreign_file_is_refused(tmp_path):
    save_file({"scores": torch.zeros(3)}, tmp_path / "c")
    with pytest.raises(ValueError, match="another program"):
        Calibration.load(tmp_path / "c")


@pytest.mark.parametrize("scores", [[], [torch.empty(0)], [torch.tensor([math.nan])]])
def test_nothing_to_calibrate_with(scores):
    with pytest.raises(ValueError, match="nothing to calibrate with"):
        Calibration.fit(scores, HIGH, "denoised")


@pytest.mark.parametrize("other", [fit([1.0], LOW), fit([1.0], HIGH, "noise")])
def test_other_kinds_of_scores_are_refused(other):
    with pytest.raises(ValueError, match="calibrate again"):
        fit([1.0]).merge(other)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit(torch.zeros(2, 2)), "shape"),
        (lambda: fit([1.0]).threshold_at(101), "between 0 and 100, got 101"),
        (lambda: fit([1.0]).percentile_of(math.nan), "finite number, got nan"),
        (lambda: Calibration(torch.tensor([2.0, 1.0]), HIGH, "denoised"), "ascending"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_file_of_an_earlier_version_is_read_and_goes_on(tmp_path):
    path = tmp_path / "old.safetensors"
    metadata = {"direction": "high_is_bad", "quantity": "denoised", "provenance": [{"model": "tiny", "seed": "3"}, {"model": "tiny"}]}
    save_tensors(path, {"scores": torch.tensor([1.0, 2.0], dtype=torch.float64)}, "calibration", 1, metadata)
    assert (Calibration.load(path).seen, Calibration.load(path).settings) == (2, {"model": "tiny", "scoring seed": "3"})
    grown = collect(path, fit([0.5], steps="20"), most=10)
    assert grown.scores.tolist() == Calibration.load(path).scores.tolist() == [0.5, 1, 2]
    assert Calibration.load(path).settings == {"model": "tiny", "scoring seed": "3", "steps": "20"} and Calibration.load(path).seen == 3


@pytest.mark.parametrize(
    ("name", "known", "other"),
    [
        ("model", "SDXL", "Flux"),
        ("prompt kind", "portraits", "maps"),
        ("sampler", "euler", "ddim"),
        ("steps", "20", "6"),
        ("cfg", "1", "7.5"),
    ],
)
def test_scores_made_in_another_way_are_refused_with_both_values(tmp_path, name, known, other):
    collect(tmp_path / "c", fit([1.0], **{name: known}), most=10)
    with pytest.raises(ValueError, match=f"scores made with {name} {known!r}, but scores made with {name} {other!r} are to be compared"):
        collect(tmp_path / "c", fit([2.0], **{name: other}), most=10)
    assert Calibration.load(tmp_path / "c").scores.tolist() == [1]
    history = Calibration.load(tmp_path / "c")
    with pytest.raises(ValueError, match="under another name"):
        decide(torch.ones(1), HIGH, FilterRule.CALIBRATED, 50, history, quantity="denoised", made={name: other})
    assert decide(torch.ones(1), HIGH, FilterRule.CALIBRATED, 50, history, quantity="denoised", made={"seed": "9"}).accepted == (0,)


def test_what_hosts_name_in_their_own_way_is_not_compared_between_them():
    """Model, weights and sampler have other names in each; the rest is called alike."""
    here = fit([1.0, 2.0], host="diffusers", sampler="DDIMScheduler", steps="20")
    here.check("denoised", HIGH, {"host": "comfyui", "model": "SD15", "sampler": "ddim", "steps": "20"})
    with pytest.raises(ValueError, match="made with steps '20', but scores made with steps '30'"):
        here.check("denoised", HIGH, {"host": "comfyui", "model": "SD15", "steps": "30"})
    for made in ({"host": "diffusers", "sampler": "ddim"}, {"sampler": "ddim"}):  # of the same, or of an unknown host
        with pytest.raises(ValueError, match="made with sampler 'DDIMScheduler'"):
            here.check("denoised", HIGH, made)
    with pytest.raises(ValueError, match="made with host 'diffusers', but scores made with host 'comfyui'"):
        here.merge(fit([3.0], host="comfyui"))


@pytest.mark.parametrize(
    ("levels", "same"), [("-3.25, 1.64", True), ("-3.2,1.69", True), ("-3.19, 1.65", False), ("-3.24", False), ("-3.24, high", False)]
)
def test_noise_levels_are_the_same_as_far_as_a_schedule_in_steps_can_tell(levels, same):
    here = fit([1.0], log_snr="-3.24, 1.65")
    if same:
        assert len(here.merge(fit([2.0], log_snr=levels))) == 2
    else:
        with pytest.raises(ValueError, match="made with log_snr '-3.24, 1.65', but"):
            here.check("denoised", HIGH, {"log_snr": levels})


def test_the_runs_that_are_in_it_are_remembered(tmp_path):
    path = tmp_path / "c.safetensors"
    seen = []

    def add(scores, **collected):
        def change(history):
            seen.append(history and dict(history.collected))
            new = replace(fit(scores), collected=collected)
            return new if history is None else history.merge(new)

        return update(path, change)

    add([1.0], a=1)
    add([2.0, 3.0], b=2)
    history = add([4.0], a=2)
    assert seen == [None, {"a": 1}, {"a": 1, "b": 2}]
    assert Calibration.load(path).collected == history.collected == {"a": 2, "b": 2} and len(history) == 4
    save_tensors(
        path,
        {"scores": history.scores},
        "calibration",
        1,
        {"direction": "high_is_bad", "quantity": "x", "provenance": [], "collected": {"a": "2"}},
    )
    with pytest.raises(ValueError, match="c.safetensors"):
        Calibration.load(path)


def test_settings_are_what_all_runs_agree_in():
    runs = [{"model": "a", "steps": "20", "seed": "1"}, {"model": "a", "steps": "30"}, {"cfg": "2"}]
    assert common_settings(runs) == {"model": "a", "cfg": "2", "scoring seed": "1"}


def test_a_file_stays_small_and_its_scores_stay_like_all_that_were_collected(tmp_path):
    """Kolmogorov and Smirnov's test against the whole, which drifts: the latest or the first scores alone would fail it."""
    path, all_scores = tmp_path / "c", []
    draw = np.random.default_rng(0)
    for run in range(200):
        scores = draw.normal(run / 100, 1.0, size=20)
        all_scores += scores.tolist()
        history = collect(path, fit(torch.tensor(scores)), most=300)
    assert (len(history), history.seen, len(history.provenance)) == (300, 4000, LATEST_RUNS)
    assert kstest(history.scores.numpy(), all_scores).pvalue > 0.05
    assert kstest(all_scores[-300:], all_scores).pvalue < 1e-6 > kstest(all_scores[:300], all_scores).pvalue
    assert path.stat().st_size < 12_000
    assert len(collect(path, fit([0.0]), most=50)) == 50
    assert len(collect(tmp_path / "new", fit(torch.rand(80)), most=50)) == 50


def test_collecting_again_keeps_the_same_scores(tmp_path):
    for name in "ab":
        for run in range(5):
            collect(tmp_path / name, fit(torch.arange(10.0) + run), most=15)
    one, other = (Calibration.load(tmp_path / name) for name in "ab")
    assert torch.equal(one.scores, other.scores) and len(one) == 15


def of_images(numbers, labelled=()):
    """Image i has score i % 7, so that two images may have one score."""
    numbers = torch.tensor(numbers)
    scores = (numbers % 7).double()
    labels = torch.isin(numbers, torch.tensor(labelled, dtype=torch.int64))
    return Calibration.fit([scores], HIGH, "denoised", images=numbers).label(scores[labels], torch.zeros(int(labels.sum())).bool())


@pytest.mark.parametrize("labelled", [(), (3, 4)])
def test_an_image_that_comes_again_is_one_sample_even_where_its_score_is_not_kept(tmp_path, labelled):
    path = tmp_path / "c"
    collect(path, of_images(list(range(40))), most=10)
    before = Calibration.load(path)
    for again in (list(range(40)), [39, 3, 4], [5]):
        history = collect(path, of_images(again, labelled), most=10)
        assert history.seen == 40 and torch.equal(history.scores, before.scores)
    history = collect(path, of_images([39, 40, 41], labelled), most=50)
    assert history.seen == 42 and len(history) == 12, "a new image counts, though another has its score"
    assert history.holds(of_images([50, 41, 0, 51])).tolist() == (of_images([50, 41, 0, 51]).images < 42).tolist()


def test_failed_images_are_none_of_those_that_are_known():
    run = Calibration.fit([torch.tensor([math.nan, 2.0, 1.0])], HIGH, "denoised", images=torch.tensor([7, 8, 9]))
    assert run.images.tolist() == [9, 8] and run.merge(run).seen == 2


def test_a_file_of_before_images_were_known_goes_by_scores_for_labels_alone(tmp_path):
    path = tmp_path / "c"
    fit([0.0, 1.0, 2.0]).save(path)
    labelled = collect(path, of_images([0, 1, 2], labelled=(1,)), most=50)
    assert labelled.seen == 3 and labelled.labelled.tolist() == [1]
    assert collect(path, of_images([0, 1, 2]), most=50).seen == 3, "now it knows them"
    assert collect(path, of_images([7, 8]), most=50).seen == 5


def test_the_images_of_a_file_are_bounded_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr("uncertainty_nodes.core.selection.calibration.LATEST_IMAGES", 6)
    path = tmp_path / "c"
    for first in range(0, 12, 3):
        collect(path, of_images([first, first + 1, first + 2]), most=50)
    assert sorted(Calibration.load(path).images.tolist()) == [6, 7, 8, 9, 10, 11]
    metadata = {"direction": "high_is_bad", "quantity": "x", "provenance": []}
    save_tensors(path, {"scores": torch.zeros(1).double(), "images": torch.zeros(1)}, "calibration", 1, metadata)
    with pytest.raises(ValueError, match="images must hold whole numbers, got float32"):
        Calibration.load(path)


WRITER = """
import sys, torch
from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.collecting import Calibration, collect
number, path = int(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for run in range(25):
    collect(path, Calibration.fit([torch.tensor([number * 1000.0 + run])], Direction.HIGH_IS_BAD, "denoised"), most=10_000)
"""


def test_two_processes_that_collect_at_once_lose_nothing(tmp_path):
    path = tmp_path / "c.safetensors"
    command = [sys.executable, "-c", WRITER]
    both = [subprocess.Popen([*command, str(i), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in (1, 2)]
    for writer in both:
        assert writer.stdout.readline() == "ready\n"
    for writer in both:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in both] == [0, 0]
    for writer in both:
        writer.stdin.close()
        writer.stdout.close()
    assert Calibration.load(path).scores.tolist() == [n * 1000 + run for n in (1, 2) for run in range(25)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".c.safetensors.lock", "c.safetensors"]


def early(count: int = 300, seed: int = 0) -> Calibration:
    """Labelled drafts whose trajectory tells the bad ones."""
    generator = torch.Generator().manual_seed(seed)
    bad = torch.rand(count, generator=generator) < 0.3
    scores = torch.randn(count, generator=generator)
    further = {"trajectory": (torch.randn(count, generator=generator) + 3.0 * bad).exp()}
    return Calibration.fit([scores], Direction.LOW_IS_BAD, "information at 0.5").label(scores, bad, further)


def test_an_early_stop_is_learned_from_what_several_scores_said(tmp_path):
    history, path = early(), tmp_path / "c.safetensors"
    learned = history.early_stop()
    assert learned.names == ("information", "trajectory") and learned.weights[1] > 1
    history.save(path)
    loaded = Calibration.load(path)
    assert torch.equal(loaded.early_stop().weights, learned.weights)
    both = loaded.merge(early(seed=1))
    assert len(both.further["trajectory"]) == len(both.labelled) == 600
    assert both.early_stop().weights[1] == pytest.approx(float(learned.weights[1]), rel=0.5)


def test_labels_of_one_score_alone_are_no_early_stop():
    scores = torch.arange(10.0)
    old = Calibration.fit([scores], Direction.LOW_IS_BAD, "information at 0.5").label(scores, scores < 5)
    assert old.early_stop() is None
    joined = old.merge(early())
    assert len(joined.labelled) == 310 and int(joined.further["trajectory"].isnan().sum()) == 10
    assert torch.allclose(joined.early_stop().weights, early().early_stop().weights), "labels without the other score are left out"


def test_damaged_further_scores_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    replace(early(), further={"trajectory": torch.ones(3, dtype=torch.float64)}).save(path)
    with pytest.raises(ValueError, match="trajectory must have the shape"):
        Calibration.load(path)


def test_scores_of_other_draws_are_refused_with_the_way_out():
    history = fit([1.0, 2.0], seed="0")
    with pytest.raises(ValueError, match="scoring seed '0', but scores made with scoring seed '7' .* keep the seed of what scores fixed"):
        history.merge(fit([3.0], seed="7"))
    assert history.merge(fit([3.0], seed="0")).seen == 3
    guided = {"guidance": "posterior, strength 0.02"}  # its draws have the seed of the sampling
    assert fit([1.0], seed="0", **guided).merge(fit([3.0], seed="7", **guided)).seen == 2
