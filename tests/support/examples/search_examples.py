"""Example workflows of searches: best of N, and until accepted."""

from __future__ import annotations

from sheet import SAMPLER, Sheet

TALL = (SAMPLER[0], 780)
POINTS = {"points": "0.5", "fractions": "0.25", "scorer": "information", "second_scorer": "none", "mode": "prune"}
POINTS |= {"samples": 2, "micro_batch": 1}
STEPS = {"seed": 1, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
BEST = {**POINTS, "keep": 1, "limit": 50.0, "sharpness": 1.0}


def best_of() -> Sheet:
    s = Sheet(
        "## The best of eight\n\n"
        "For each of four images **Best of N** starts eight candidates. In the middle of the schedule it compares them by prompt "
        "information, and only two go on. Of these the better one comes out. Beside it stands what KSampler draws with one try each.\n\n"
        "- The upper report shows the scores of those that came out, the lower one the scores of all candidates.\n"
        "- **points** and **fractions** say when to compare and which part goes on.\n"
        "- Where a model samples well with CFG, raise **cfg** first: that is cheaper than candidates."
    )
    demo = s.node("UQ_LoadDemoModel", digit=4, batch_size=4)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    plain = s.sampler(demo[0], demo[1], demo[2], demo[4], "One try each")
    best = s.node("UQ_BestOfN", "", TALL, **wires, **STEPS, **BEST, candidates=8)
    pictures = [s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (plain, best)]
    views = [s.preview(images, name) for images, name in zip(pictures, ("One try each", "Best of 8"), strict=True)]
    s.columns = [[demo, plain], [best], pictures, views, [s.report(best[1], "Those that came out"), s.report(best[4], "All candidates")]]
    return s


def until() -> Sheet:
    s = Sheet(
        "## Again until it is good\n\n"
        "First twelve images are scored, and **Calibrate** remembers their scores. Then **Sample Until Accepted** draws one image after "
        "another, each with another seed, until four are better than the middle of these scores, or 16 attempts are made.\n\n"
        "- In your own workflow, fill a calibration once, give it a name, and use Load Calibration from then on.\n"
        "- **accepted** and **attempts** can drive other nodes; **seeds** tells how to draw each image again."
    )
    demo, one = s.node("UQ_LoadDemoModel", digit=8, batch_size=12), s.node("UQ_LoadDemoModel", "One image", digit=8, batch_size=1)
    earlier = s.sampler(demo[0], demo[1], demo[2], demo[4], "Earlier images", seed=100)
    settings = {"samples": 4, "start_percent": 0.4, "end_percent": 0.6, "levels": 4, "seed": 0}
    scored = s.node("UQ_PromptInformation", model=demo[0], positive=demo[1], negative=demo[2], latent=earlier, **settings)
    calibration = s.node("UQ_Calibrate", uncertainty=scored[1], name="")
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": one[4], "calibration": calibration}
    rule = {"rule": "calibrated", "value": 50.0, "wanted": 4, "max_attempts": 16, "scorer": "information", "samples": 4, "levels": 4}
    drawn = s.node("UQ_SampleUntilAccepted", "", TALL, **wires, **STEPS, **rule, enough=False)
    pictures = [s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (scored, drawn)]
    views = [s.preview(images, name) for images, name in zip(pictures, ("Earlier images", "Accepted"), strict=True)]
    s.columns = [[demo, one], [earlier], [scored, calibration], [drawn], [*pictures, *views], [s.report(drawn[1])]]
    return s
