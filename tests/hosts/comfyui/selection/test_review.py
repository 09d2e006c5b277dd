"""A person decides about borderline images, on a real ComfyUI: every way in which a review ends, and that none of them hangs."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from comfy_client import PromptInterrupted
from comfy_review import ASK, END, Page, Reviewed
from comfy_server import Server


def test_the_persons_answer_counts(comfy: Server) -> None:
    r = Reviewed(salt=1)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        assert [image["index"] for image in asked["images"]] == [2, 0]  # best first
        assert [image["accepted"] for image in asked["images"]] == [True, False]
        assert page.say(asked, "answer", accepted=[0], rejected=[2]) == (200, {"ok": True})
        found = r.finish(comfy, prompt)
        assert page.wait_for(END) == [{"id": asked["id"]}]
    assert (found["accepted"], found["rejected"], found["unsure"]) == ("0,1,3", "2,4,5", "")
    assert (found["yes"], found["no"]) == ("0", "2")
    assert found["sentence"] == "Review of 2 borderline images: you decided."


def test_the_page_gets_pictures_heatmaps_and_what_the_rule_thinks(comfy: Server) -> None:
    r = Reviewed(salt=2)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        for image in asked["images"]:
            picture, heat = (Image.open(io.BytesIO(comfy.fetch_output(image[name]))) for name in ("picture", "heatmap"))
            assert picture.size == heat.size == (16, 16)
            assert picture.getpixel((5, 5)) == (round(255 * image["index"] / 100),) * 3
        assert asked["line"] == pytest.approx(0.35) and asked["accepted"] == [1, 2, 3] and asked["node"] == str(r.filter)
        page.say(asked, "leave")
        found = r.finish(comfy, prompt)
    assert found["accepted"] == "1,2,3" and (found["yes"], found["no"]) == ("", "")
    assert found["sentence"].endswith("you left them to the rule.")


def test_no_image_near_the_line_asks_nobody(comfy: Server) -> None:
    r = Reviewed(salt=3, band=5.0)
    with Page(comfy) as page:
        found = r.finish(comfy, page.queue(r.graph))
        assert page.of(ASK) == []
    assert found["accepted"] == "1,2,3" and found["sentence"] == "Review: no image is near the line."


def test_one_image_near_the_line(comfy: Server) -> None:
    r = Reviewed("0.2", salt=4, value=0.0, band=50.0)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        assert page.say(asked, "answer", accepted=[0], rejected=[])[0] == 200
        found = r.finish(comfy, prompt)
    assert (found["accepted"], found["yes"]) == ("0", "0")
    assert found["sentence"].startswith("Review of 1 borderline image:")


def test_many_images_and_an_answer_for_some(comfy: Server) -> None:
    """What is not answered goes as the node says."""
    r = Reviewed(salt=5, band=100.0, unanswered="set_aside")
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        assert [image["index"] for image in asked["images"]] == [1, 3, 2, 0, 5, 4]
        page.say(asked, "answer", accepted=[4], rejected=[1])
        found = r.finish(comfy, prompt)
    assert (found["accepted"], found["rejected"], found["unsure"]) == ("4", "1", "0,2,3,5")


@pytest.mark.parametrize(
    ("unanswered", "accepted", "unsure"),
    [("by_rule", "1,2,3", ""), ("accept", "0,1,2,3", ""), ("reject", "1,3", ""), ("set_aside", "1,3", "0,2")],
)
def test_when_nobody_answers_in_time_the_policy_decides(comfy: Server, unanswered: str, accepted: str, unsure: str) -> None:
    r = Reviewed(salt=6, review_seconds=1, unanswered=unanswered)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        page.asked()
        found = r.finish(comfy, prompt)
        page.wait_for(END)
    assert (found["accepted"], found["unsure"], found["yes"], found["no"]) == (accepted, unsure, "", "")
    assert found["sentence"].endswith("nobody decided in time.")


def test_a_person_who_is_at_it_is_waited_for(comfy: Server) -> None:
    r = Reviewed(salt=7, review_seconds=2)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        for _ in range(8):
            time.sleep(0.5)
            assert page.say(asked, "touch")[0] == 200
        assert comfy.history(prompt) is None
        assert r.finish(comfy, prompt)["sentence"].endswith("nobody decided in time.")


def test_the_pages_own_setting_counts_where_the_node_has_none(comfy: Server) -> None:
    r = Reviewed(salt=8, review_seconds=0)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.wait_for(ASK)[-1]
        assert page.say(asked, "seen", seconds=1)[0] == 200
        assert r.finish(comfy, prompt)["sentence"].endswith("nobody decided in time.")


def test_a_closed_page_ends_it_by_the_policy(comfy: Server) -> None:
    r = Reviewed(salt=9, unanswered="reject")
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        page.asked()
    found = r.finish(comfy, prompt)
    assert found["accepted"] == "1,3" and found["sentence"].endswith("the page was closed.")


def test_a_page_that_is_loaded_again_is_asked_again(comfy: Server) -> None:
    r = Reviewed(salt=10)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked, client = page.asked(), page.client_id
    with Page(comfy, client) as page:
        again = page.asked()
        assert again["id"] == asked["id"]
        page.say(again, "answer", accepted=[0, 2], rejected=[])
        assert r.finish(comfy, prompt)["accepted"] == "0,1,2,3"


def test_an_interrupt_ends_it_at_once(comfy: Server) -> None:
    r = Reviewed(salt=11)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        asked = page.asked()
        comfy.cancel()
        with pytest.raises(PromptInterrupted):
            comfy.wait(prompt, 20).raise_for_status()
        page.wait_for(END)
        assert page.say(asked, "answer", accepted=[0])[0] == 404
    assert comfy.run(Reviewed(salt=12, borderline="by_rule").graph).status["status_str"] == "success"


def test_without_a_client_the_rule_decides(comfy: Server) -> None:
    r = Reviewed(salt=13)
    found = r.read(comfy, comfy.run(r.graph))
    assert found["accepted"] == "1,2,3" and found["sentence"].endswith("no open page of ComfyUI queued this run.")


def test_a_program_that_only_listens_does_not_hang(comfy: Server) -> None:
    r = Reviewed(salt=14)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        page.wait_for(ASK)
        found = r.finish(comfy, prompt)
        page.wait_for(END)
    assert found["accepted"] == "1,2,3" and found["sentence"].endswith("no open page of ComfyUI queued this run.")


def test_only_the_page_that_queued_it_is_asked_and_may_answer(comfy: Server) -> None:
    r = Reviewed(salt=15)
    with Page(comfy) as mine, Page(comfy) as other:
        prompt = mine.queue(r.graph)
        asked = mine.asked()
        assert other.say(asked, "answer", accepted=[0, 2])[0] == 404
        mine.say(asked, "answer", accepted=[], rejected=[0, 2])
        assert r.finish(comfy, prompt)["accepted"] == "1,3"
        assert other.of(ASK) == other.of(END) == []


def test_two_filters_wait_at_the_same_time_and_others_go_on(comfy: Server) -> None:
    first, second = Reviewed(salt=16), Reviewed("0.3,0.1", salt=16, value=1.0, band=30.0)
    graph = first.graph
    moved = {id: str(100 + int(id)) for id in second.graph}
    for id, node in second.graph.items():
        inputs = {k: [moved[v[0]], v[1]] if isinstance(v, list) else v for k, v in node["inputs"].items()}
        graph[moved[id]] = {**node, "inputs": inputs}
    with Page(comfy) as page:
        prompt = page.queue(graph)
        deadline = time.monotonic() + 30
        while len(asked := {q["id"]: q for q in page.of(ASK)}) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(asked) == 2
        for question in asked.values():
            page.say(question, "seen")
            page.say(question, "answer", accepted=[image["index"] for image in question["images"]])
        history = comfy.wait(prompt).raise_for_status()
    assert first.read(comfy, history)["accepted"] == "0,1,2,3"


def test_the_answer_is_remembered_until_something_changes(comfy: Server) -> None:
    r = Reviewed(salt=17)
    with Page(comfy) as page:
        prompt = page.queue(r.graph)
        page.say(page.asked(), "answer", accepted=[0], rejected=[2])
        r.finish(comfy, prompt)
        asked = len(page.of(ASK))
        history = comfy.wait(page.queue(r.graph)).raise_for_status()
        assert str(r.filter) in history.cached and len(page.of(ASK)) == asked


def test_inside_a_subgraph_and_with_videos(comfy: Server) -> None:
    """The front-end sends what is inside of node 9 with ids that begin with "9:". Of a video the frame in the middle is shown."""
    r = Reviewed(salt=18, frames=3)
    inside = {id: f"9:{id}" for id in ("1", "2", "3")}
    graph = {inside.get(id, id): node for id, node in r.graph.items()}
    for node in graph.values():
        node["inputs"] = {k: [inside[v[0]], v[1]] if isinstance(v, list) else v for k, v in node["inputs"].items()}
    with Page(comfy) as page:
        prompt = comfy.queue(graph, client_id=page.client_id)
        asked = page.asked()
        assert asked["node"] == "9:3"
        picture = Image.open(io.BytesIO(comfy.fetch_output(asked["images"][0]["picture"])))
        assert picture.getpixel((0, 0)) == (round(255 * 7 / 100),) * 3  # the second of image 2's frames 6, 7, 8
        page.say(asked, "answer", accepted=[0, 2])
        comfy.wait(prompt).raise_for_status()


def test_answers_teach_combine_its_weights(comfy: Server) -> None:
    """The filter looks at one score, the person at what another score tells; what is joined afterwards follows the person."""
    r = Reviewed("1,2,3,4,5,6", salt=19, band=100.0)
    g = r.graph
    sees = g.node("UQTest_Uncertainty", scores="0.1,0.9,0.2,0.8,0.3,0.7", direction="high_is_bad", frames=0, salt=19)
    labels = {"accepted_indexes": r.filter[15], "rejected_indexes": r.filter[16]}
    joined = g.node("UQ_CombineUncertainty", uncertainty_1=r.scored, uncertainty_2=sees, **labels)
    kept = g.node("UQTest_SaveValue", value=g.node("UQ_SampleFilter", uncertainty=joined, rule="keep_best_count", value=3.0)[6])
    told = g.node("UQTest_SaveValue", value=joined[1])
    with Page(comfy) as page:
        prompt = page.queue(g)
        page.say(page.asked(), "answer", accepted=[0, 2, 4], rejected=[1, 3, 5])
        history = comfy.wait(prompt).raise_for_status()
    assert comfy.value(history, kept) == ["0,2,4"]
    assert "learned from 3 accepted and 3 rejected images" in comfy.value(history, told)[0]


def test_answers_are_the_labels_that_the_rule_with_a_promise_reads(comfy: Server) -> None:
    """Of 20 images the best 15 are good: 16 with a bad one may be chance, 0.8^16 + 16 * 0.2 * 0.8^15 = 0.14 > 0.1, and 0.8^15 < 0.1."""
    r = Reviewed(",".join(str(i + 1) for i in range(20)), salt=20, band=100.0)
    g = r.graph
    labels = {"accepted_indexes": r.filter[15], "rejected_indexes": r.filter[16]}
    calibration = g.node("UQ_Calibrate", uncertainty=r.scored, name="", **labels)
    others = g.node("UQTest_Uncertainty", scores="16,15.5,15,1,20", direction="high_is_bad", frames=0, salt=20)
    rule = {"rule": "at_most_bad", "value": 20.0, "confidence": 90.0}
    kept = g.node("UQTest_SaveValue", value=g.node("UQ_SampleFilter", uncertainty=others, calibration=calibration, **rule)[6])
    with Page(comfy) as page:
        prompt = page.queue(g)
        page.say(page.asked(), "answer", accepted=list(range(15)), rejected=list(range(15, 20)))
        history = comfy.wait(prompt).raise_for_status()
    assert history.outputs[str(calibration)]["text"][-2] == "20 labelled images, 5 of them bad."
    assert comfy.value(history, kept) == ["2,3"]
