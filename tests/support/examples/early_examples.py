"""Example workflows that use what earlier images tell: the best of a folder, and attempts that end early."""

from __future__ import annotations

from choice_examples import DRAFT
from search_examples import BEST, STEPS, TALL
from sheet import WIDE_PICTURE, Sheet

DRAFTED = 24
CALIBRATE = (300, 290)
EVERY = ",".join(map(str, range(DRAFTED)))


def rank_folder() -> Sheet:
    s = Sheet(
        "## The best of a whole night\n\n"
        "First run the workflow *3_demo_filter_overnight* once or more: it saves its images in **output/accepted**, each with its score "
        "written into the file. Then run this one.\n\n"
        "**Rank Folder** reads those scores, at no model call, and gives the **keep** best images of the folder, the best first. "
        "Only these are held in memory, so the folder may hold thousands.\n\n"
        "- For your own images, set **folder**. They have a score when Sample Filter stood before Save Image.\n"
        "- Images without a score: choose another **scorer** and connect **model**, **vae** and **positive**.\n"
        "- **Sweep Grid** shows the file name above each image and its score below."
    )
    ranked = s.node("UQ_RankFolder", "", (300, 420), place="output", folder="accepted", keep=8, scorer="note", samples=4, levels=4)
    grid = s.node("UQ_SweepGrid", images=ranked, labels=ranked[1], scores=ranked[2], columns=4, heading="the best of output/accepted")
    shown = s.preview(grid, "The best, with names and scores", (900, 620))
    s.columns = [[ranked], [grid, s.save(ranked, "The best", "best/digit")], [shown, s.preview(ranked, "One by one", WIDE_PICTURE)]]
    return s


def early_stop() -> Sheet:
    s = Sheet(
        "## Leave hopeless images early\n\n"
        f"**Draft Candidates** stops {DRAFTED} images in the middle, and **Finish Drafts** finishes all of them. Sample Filter judges the "
        "finished images, and **Calibrate** learns from these labels which drafts end badly.\n\n"
        "Then **Best of N** with mode stop, and **Sample Until Accepted** with **early_calibration**, end an image at the same point when "
        "it looks hopeless. **limit** 75 lets at least 75 % of the good images go on, with 95 % confidence.\n\n"
        "- Better labels are your own: look at the finished images, cut the two wires to Calibrate, and type the numbers of the good and "
        "of the bad ones.\n"
        "- Give Calibrate a **name** and run it often: with 59 good images **limit** 95 can be promised.\n"
        "- Model, sampler, steps and cfg must stay as they were for the drafts."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=1)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    drafts = {**DRAFT, "candidates": DRAFTED}
    drafted = s.node("UQ_DraftCandidates", "", TALL, **wires, **STEPS | {"seed": 100}, **drafts)
    finished = s.node("UQ_FinishDrafts", drafts=drafted, chosen=EVERY, keep=1)
    settings = {"samples": 4, "start_percent": 0.4, "end_percent": 0.6, "levels": 4, "seed": 0}
    judged = s.node("UQ_PromptInformation", model=demo[0], positive=demo[1], negative=demo[2], latent=finished, **settings)
    labels = s.filter("drop_worst_percent", 25.0, uncertainty=judged[1])
    learned = s.node(
        "UQ_Calibrate", "", CALIBRATE, uncertainty=finished[1], name="", accepted_indexes=labels[6], rejected_indexes=labels[9]
    )
    stop = {**BEST, "mode": "stop", "keep": 8, "limit": 75.0, "fractions": "1", "points": "0.5"}
    best = s.node("UQ_BestOfN", "Eight, without the hopeless ones", TALL, **wires, **STEPS, **stop, candidates=8, calibration=learned)
    rule = {"rule": "calibrated", "value": 50.0, "wanted": 4, "max_attempts": 16, "scorer": "information", "samples": 4, "levels": 4}
    usual = s.node("UQ_Calibrate", "What finished images score", CALIBRATE, uncertainty=judged[1], name="")
    early = {"calibration": usual, "early_calibration": learned, "early_limit": 75.0}
    drawn = s.node("UQ_SampleUntilAccepted", "Until four are good", TALL, **wires, **STEPS, **rule, enough=False, **early)
    images = [s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (judged, best, drawn)]
    names = ("The drafts, finished", "What went on", "Accepted")
    views = [s.preview(each, name) for each, name in zip(images, names, strict=True)]
    s.columns = [[demo, drafted], [finished, judged, learned, usual], [labels], [best], [drawn], [*images, *views]]
    return s
