"""Example workflows of the Bayesian family."""

from __future__ import annotations

from sheet import SAMPLER, WIDE_PICTURE, Sheet


def generative() -> Sheet:
    s = Sheet(
        "## Would a slightly different model have drawn the same?\n\n"
        "1. **Fit Last-Layer Laplace** learns from 44 real digits how firmly the last layer of the model is settled; **Save** keeps it.\n"
        "2. **Generative Uncertainty** draws each image, and once more with each of 5 slightly different models, in fewer steps. "
        "Where their meanings part, the score is high.\n"
        "3. **Sample Filter** drops the worst third.\n\n"
        "Next time wire Load Last-Layer Laplace instead of Fit. For your own models connect Load CLIP Vision to **clip_vision**."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=9)
    options = {
        "draws": 8,
        "prior_precision": 1.0,
        "seed": 0,
        "covariance": "diagonal",
        "layer": "",
        "batch_size": 8,
        "noise_variance": 0.4,
    }
    fit = s.node("UQ_FitLaplace", model=demo[0], latents=demo[5], positive=demo[1], **options)
    kept = s.node("UQ_SaveLaplace", laplace=fit, name="digit 8")
    loaded = s.node("UQ_LoadLaplace", "Instead of fitting again", name="demo (bundled)", prior_precision=0.0, noise_variance=0.0)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4], "laplace": kept, "vae": demo[3]}
    settings = {"seed": 3, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    drawn = s.node("UQ_GenerativeUncertainty", "", (SAMPLER[0], 560), **wires, **settings, members=5, member_steps=8)
    parted = s.filter("drop_worst_percent", 34.0, uncertainty=drawn[2], images=drawn[1])
    heat = s.heatmap(drawn[2], drawn[1])
    views = [s.preview(parted[0], "Accepted"), s.preview(parted[1], "Rejected")]
    bright = s.preview(heat, "Bright = the versions differ", WIDE_PICTURE)
    report = s.report(drawn[2], accepted_indexes=parted[6])
    s.columns = [[demo, loaded], [fit, kept], [drawn, heat], [parted], views, [bright, report]]
    return s
