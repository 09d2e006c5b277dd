"""Example workflows in which a person or a rule chooses: a review, and drafts."""

from __future__ import annotations

from search_examples import STEPS, TALL
from sheet import Sheet

DRAFT = {"candidates": 8, "point": 0.5, "scorer": "information", "samples": 2, "micro_batch": 1}
REVIEW = {"borderline": "review", "band": 20.0, "review_seconds": 300, "unanswered": "by_rule"}


def review() -> Sheet:
    s = Sheet(
        "## Look only at the doubtful ones\n\n"
        "**Sample Filter** rejects the worst 30 % of sixteen images. With **borderline** set to review, the run stops at the images near "
        "the line, shows them over the whole screen, and waits for you.\n\n"
        "- Arrow keys move, a number or a click turns an image over, Space shows it large, H shows what is unsure, Enter is done.\n"
        "- **band** 20 asks about images within 20 % of the batch from the line; at 100 you see them all.\n"
        "- **unanswered** says what becomes of them when you are away: after **review_seconds** the run goes on by itself.\n"
        "- **reviewed_accepted** and **reviewed_rejected** are your answers: wire them to Combine Uncertainty, which learns from them."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=16)
    record = s.record(demo[0])
    sampled = s.sampler(record[0], demo[1], demo[2], demo[4])
    read = s.node("UQ_ReadUncertainty", latent=sampled, record=record[1])
    images = s.node("VAEDecode", samples=read, vae=demo[3])
    kept = s.filter("drop_worst_percent", 30.0, uncertainty=read[1], images=images, **REVIEW)
    views = [s.preview(kept[0], "Accepted"), s.preview(kept[1], "Rejected")]
    s.columns = [[demo, record], [sampled, read, images], [kept], views, [s.report(read[1], accepted_indexes=kept[6], images=images)]]
    return s


def drafts() -> Sheet:
    s = Sheet(
        "## See eight drafts, finish two\n\n"
        "**Draft Candidates** starts eight images and stops each in the middle of the schedule. VAE Decode shows what each is going to be. "
        "**Finish Drafts** goes on with those that Sample Filter accepts, from where they were: their first steps are not paid again.\n\n"
        "- Change **value** of the filter and run again: nothing is drafted anew, only the filter and Finish Drafts run.\n"
        "- To choose by eye, set **borderline** of the filter to review and **band** to 100. Or cut the wire to **chosen** and type "
        "numbers, such as 0,3.\n"
        "- A finished draft is exactly what KSampler draws with its seed."
    )
    demo = s.node("UQ_LoadDemoModel", digit=4, batch_size=1)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    drafted = s.node("UQ_DraftCandidates", "", TALL, **wires, **STEPS, **DRAFT)
    pictures = s.node("VAEDecode", "Drafts as pictures", samples=drafted[1], vae=demo[3])
    kept = s.filter("keep_best_count", 2.0, uncertainty=drafted[2], images=pictures)
    finished = s.node("UQ_FinishDrafts", drafts=drafted, chosen=kept[6], keep=1)
    images = s.node("VAEDecode", "Finished", samples=finished, vae=demo[3])
    views = [s.preview(pictures, "Eight drafts"), s.preview(images, "The two that were finished")]
    s.columns = [[demo], [drafted], [pictures, kept], [finished, images], views, [s.report(drafted[2], accepted_indexes=kept[6])]]
    return s
