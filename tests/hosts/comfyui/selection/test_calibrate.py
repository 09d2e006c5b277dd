"""Collecting scores over runs on a real ComfyUI, and filtering single images by them."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_scenes import ksampler, scene
from comfy_server import Server
from comfy_uncertainty import RECORD, estimator
from tiny_checkpoints import SD3_LORA


def result(g: Graph, scores: str, direction: str = "high_is_bad", salt: int = 0) -> Node:
    return g.node("UQTest_Uncertainty", scores=scores, direction=direction, frames=0, salt=salt)


def collect(comfy: Server, name: str, scores: str, **having: Any) -> str:
    """What Calibrate says it has."""
    g = Graph()
    calibrate = g.node("UQ_Calibrate", uncertainty=result(g, scores, **having), name=name)
    return comfy.run(g).outputs[str(calibrate)]["text"][0]


def accepted(comfy: Server, name: str, scores: str, percent: float, salt: int = 0) -> str:
    g = Graph()
    loaded = g.node("UQ_LoadCalibration", name=name)
    kept = g.node("UQ_SampleFilter", uncertainty=result(g, scores, salt=salt), rule="calibrated", value=percent, calibration=loaded)
    saved = g.node("UQTest_SaveValue", value=kept[6])
    return comfy.value(comfy.run(g), saved)[0]


def test_scores_of_many_runs_are_collected_and_judge_a_single_image(comfy: Server) -> None:
    assert collect(comfy, "many", "1,2,3,4") == "4 scores of denoised"
    assert collect(comfy, "many", "5,6,7,8") == "8 scores of denoised"
    assert "many" in comfy.object_info()["UQ_LoadCalibration"]["input"]["required"]["name"][1]["options"]
    assert accepted(comfy, "many", "4.4", 50.0) == "0"  # the middle of 1 to 8 is 4.5
    assert accepted(comfy, "many", "4.6", 50.0) == ""
    assert accepted(comfy, "many", "4.6", 90.0) == "0"


def test_a_file_that_has_grown_is_read_again(comfy: Server) -> None:
    collect(comfy, "growing", "1,1")
    assert accepted(comfy, "growing", "2", 50.0) == ""
    collect(comfy, "growing", "3,3,3,3")
    assert accepted(comfy, "growing", "2", 50.0, salt=1) == "0"


def test_files_that_people_bring_are_found_among_the_models(comfy: Server) -> None:
    collect(comfy, "brought", "1,2,3")
    place = comfy.base / "models" / "uncertainty" / "calibration" / "brought.safetensors"
    place.parent.mkdir(parents=True)
    (comfy.base / "output" / "uncertainty" / "calibration" / "brought.safetensors").rename(place)
    assert accepted(comfy, "brought", "1.5,9", 100.0) == "0"


def test_without_a_name_nothing_is_written(comfy: Server) -> None:
    before = set(comfy.base.rglob("*.safetensors"))
    assert collect(comfy, "", "1,2", salt=5) == "2 scores of denoised"
    assert set(comfy.base.rglob("*.safetensors")) == before


def test_scores_of_another_kind_are_not_mixed_in(comfy: Server) -> None:
    collect(comfy, "high", "1,2")
    with pytest.raises(PromptFailed, match=r"This calibration holds 'denoised' scores \(high_is_bad\)"):
        collect(comfy, "high", "1,2", direction="low_is_bad")
    assert accepted(comfy, "high", "1.5", 100.0) == "0"


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "a\\b", "x" * 101])
def test_a_name_stays_in_its_folder(comfy: Server, name: str) -> None:
    with pytest.raises(PromptRefused, match="name must be letters"):
        collect(comfy, name, "1,2")
    with pytest.raises(PromptRefused, match="name must be letters"):
        accepted(comfy, name, "1", 50.0)


def test_a_file_that_is_not_there_is_named_before_anything_runs(comfy: Server) -> None:
    with pytest.raises(PromptRefused, match="There is no calibration named 'nowhere' in .*output/uncertainty/calibration"):
        accepted(comfy, "nowhere", "1", 50.0)


def test_a_damaged_file_is_told(comfy: Server) -> None:
    path = comfy.base / "output" / "uncertainty" / "calibration" / "damaged.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not safetensors")
    with pytest.raises(PromptFailed, match="is not a whole safetensors file"):
        accepted(comfy, "damaged", "1", 50.0)


def drawn(g: Graph, steps: int = 8, seed: int = 1) -> tuple[Node, Node]:
    """One image of the demo model, and what was recorded of it."""
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    patch = g.node("UQ_RecordUncertainty", model=demo, **RECORD)
    wires = {"model": patch, "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    latent = g.node("KSampler", **wires, seed=seed, steps=steps, cfg=1.0, sampler_name="euler", scheduler="normal", denoise=1.0)
    return latent, g.node("UQ_ReadUncertainty", latent=latent, record=patch[1])


def test_single_images_are_collected_over_queued_runs_and_judged_by_all_so_far(comfy: Server) -> None:
    scores, passed = [], []
    for seed in range(1, 5):
        g = Graph()
        _, found = drawn(g, seed=seed)
        history = g.node("UQ_Calibrate", uncertainty=found[1], name="grown")
        kept = g.node("UQ_SampleFilter", uncertainty=found[1], rule="calibrated", value=50.0, calibration=history)
        readers = [g.node("UQTest_SaveValue", value=kept[i]) for i in (5, 7)]
        ran = comfy.run(g)
        scores += comfy.value(ran, readers[0])
        passed += comfy.value(ran, readers[1])
    assert passed == [score <= np.median(scores[: i + 1]) for i, score in enumerate(scores)]
    assert len(set(passed)) == 2
    text = ran.outputs[str(history)]["text"]
    assert text[0] == "4 scores of denoised" and {"sampler: euler", "steps: 8", "cfg: 1"} <= set(text)


def test_other_steps_are_refused_by_name_when_collected_and_when_judged(comfy: Server) -> None:
    g = Graph()
    g.node("UQ_Calibrate", uncertainty=drawn(g)[1][1], name="eight", prompt_kind="digits")
    comfy.run(g)
    for judge in (False, True):
        g = Graph()
        found = drawn(g, steps=6)[1]
        if judge:
            loaded = g.node("UQ_LoadCalibration", name="eight")
            kept = g.node("UQ_SampleFilter", uncertainty=found[1], rule="calibrated", value=50.0, calibration=loaded)
            g.node("UQTest_SaveValue", value=kept[5])
        else:
            g.node("UQ_Calibrate", uncertainty=found[1], name="eight", prompt_kind="digits")
        with pytest.raises(PromptFailed, match="holds scores made with steps '8', but scores made with steps '6'"):
            comfy.run(g)
    g = Graph()
    g.node("UQ_Calibrate", uncertainty=drawn(g)[1][1], name="eight", prompt_kind="letters")
    with pytest.raises(PromptFailed, match="made with prompt kind 'digits', but scores made with prompt kind 'letters'"):
        comfy.run(g)


def test_a_failed_image_adds_nothing_and_stops_nothing(comfy: Server) -> None:
    collect(comfy, "failing", "1,2")
    assert collect(comfy, "failing", "nan", salt=3) == "2 scores of denoised"
    assert collect(comfy, "failing", "nan,3", salt=4) == "3 scores of denoised"


def test_a_file_keeps_as_many_as_the_limit_says(comfy: Server) -> None:
    g = Graph()
    uncertainty = result(g, ",".join(map(str, range(40))))
    limited = g.node("UQ_Calibrate", uncertainty=uncertainty, name="limited", limit=10)
    comfy.run(g)
    g = Graph()
    limited = g.node("UQ_Calibrate", uncertainty=result(g, "41"), name="limited", limit=10)
    text = comfy.run(g).outputs[str(limited)]["text"]
    assert text[:2] == ["10 scores of denoised", "They are a random sample of the 41 scores that were collected."]


def test_an_image_is_one_sample_however_often_it_comes(comfy: Server) -> None:
    """With labels, with another promise, alone or in a batch, and where the file keeps a sample that the image is not in."""

    def told(scores: str = ",".join(map(str, range(40))), **options: Any) -> list[str]:
        g = Graph()
        calibrate = g.node("UQ_Calibrate", uncertainty=result(g, scores), name="again", limit=10, **options)
        return comfy.run(g).outputs[str(calibrate)]["text"]

    sampled = "They are a random sample of the 40 scores that were collected."
    assert told()[:2] == ["10 scores of denoised", sampled]
    known = "40 images of this run were in the file already and are not counted again."
    labelled = told(accepted_indexes="0,1", rejected_indexes="39")
    assert labelled[1:3] == [sampled, known] and labelled[-2] == "3 labelled images, 1 of them bad."
    assert told(bad_share=10.0)[1:3] == [sampled, known]
    assert told("0,1,77", accepted_indexes="0")[1:3] == [
        "They are a random sample of the 41 scores that were collected.",
        "2 images of this run were in the file already and are not counted again.",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="holds the lock by a function of POSIX systems")
def test_a_cancel_while_another_writes_leaves_the_file_as_it_was(comfy: Server) -> None:
    import fcntl

    collect(comfy, "held", "1,2")
    path = comfy.base / "output" / "uncertainty" / "calibration" / "held.safetensors"
    before = path.read_bytes()
    with open(path.with_name(f".{path.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        g = Graph()
        g.node("UQ_Calibrate", uncertainty=result(g, "3", salt=9), name="held")
        with Events(comfy) as events:
            prompt = comfy.queue(g, client_id=events.client_id)
            events.wait_for("execution_start")
            while comfy.history(prompt) is None:
                comfy.cancel()  # until it has come to the node that waits
                time.sleep(0.1)
    with pytest.raises(PromptInterrupted):
        comfy.wait(prompt).raise_for_status()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tmp")) and not list(path.parent.glob(".*.tmp"))
    assert collect(comfy, "held", "3", salt=10) == "3 scores of denoised"


def test_labels_become_a_promise_that_the_filter_keeps(comfy: Server) -> None:
    scores = ",".join(str(i) for i in range(100))
    good, bad = ",".join(str(i) for i in range(90)), ",".join(str(i) for i in range(90, 100))

    def told(**labels: Any) -> list[str]:
        g = Graph()
        calibrate = g.node("UQ_Calibrate", uncertainty=result(g, scores), name="labelled", **labels)
        return comfy.run(g).outputs[str(calibrate)]["text"]

    assert told() == ["100 scores of denoised"]
    few = told(accepted_indexes="0,1,2")
    assert few[0] == "100 scores of denoised"  # they came again, to be labelled
    assert few[-1].startswith("3 labelled images are too few to promise that at most 5 % of the accepted images are bad")
    assert "about 59 are needed" in few[-1]
    enough = told(accepted_indexes=good, rejected_indexes=bad)
    assert enough[-2] == "100 labelled images, 10 of them bad."
    assert enough[-1].startswith("At most 5 % of the images that pass 89 are bad, with 95 % confidence")
    g = Graph()
    loaded = g.node("UQ_LoadCalibration", name="labelled")
    kept = g.node("UQ_SampleFilter", uncertainty=result(g, "89,95,3"), rule="at_most_bad", value=5.0, calibration=loaded, confidence=95.0)
    saved = g.node("UQTest_SaveValue", value=kept[6])
    assert comfy.value(comfy.run(g), saved) == ["0,2"]
    with pytest.raises(PromptFailed, match="name image 2"):
        told(accepted_indexes="2", rejected_indexes="2,3")


def test_a_model_is_known_by_its_weights_and_by_what_a_lora_adds(comfy: Server) -> None:
    """The same before and after it was sampled with a LoRA, which puts that into its weights; with the LoRA it is another one."""
    s = scene("flow")

    def scored(strength: float, salt: int) -> Node:
        options = {"lora_name": SD3_LORA, "strength_model": strength}
        model = s.graph.node("LoraLoaderModelOnly", model=s.model, **options) if strength else s.model
        drawn = ksampler(s.having(model=model), seed=salt)
        return estimator(s.having(model=model), drawn)

    calibrations = [
        s.graph.node("UQ_Calibrate", uncertainty=scored(strength, i)[1], name="") for i, strength in enumerate((0, 0.5, 0, 1.0))
    ]
    history = comfy.run(s.graph)
    weights = [next(line for line in history.outputs[str(c)]["text"] if line.startswith("weights: ")) for c in calibrations]
    assert weights[0] == weights[2] and len(set(weights)) == 3
    assert weights[0].endswith(", float32")
    s.graph.node("UQ_Calibrate", uncertainty=scored(0, 10)[1], name="weights")
    comfy.run(s.graph)
    s.graph.node("UQ_Calibrate", uncertainty=scored(1.0, 11)[1], name="weights")
    with pytest.raises(PromptFailed, match="This calibration holds scores made with weights '[0-9a-f]{8}, float32', but"):
        comfy.run(s.graph)
