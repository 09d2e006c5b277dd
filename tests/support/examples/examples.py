"""The example workflows as code: what they do, where their nodes stand, and what they tell. ``make_examples.py`` writes the files."""

from __future__ import annotations

from collections.abc import Callable

from bayesian_examples import generative
from choice_examples import drafts, review
from early_examples import early_stop, rank_folder
from ensemble_examples import ensemble, trained_ensemble
from large_examples import flux_best_of, flux_guide, flux_sweep, flux_until, sdxl_best_of, sdxl_drafts, sdxl_filter, sdxl_sweep, sdxl_until
from search_examples import best_of, until
from sheet import GUIDED_SAMPLER, Sheet


def estimate() -> Sheet:
    s = Sheet(
        "## Which images is the model unsure of?\n\n"
        "**Uncertainty Estimator** adds noise to finished images, lets the model predict again, and measures how far the predictions "
        "differ: 5 draws at 4 levels, 20 model calls per image.\n\n"
        "- **Heatmap**: bright = unsure. Its mask can be plugged into inpainting.\n"
        "- **Report**: the score of each image (high = unsure), also written as CSV and JSON to **output/uncertainty**.\n\n"
        "For your own images, replace Load Demo Model and KSampler by your checkpoint and VAE Encode."
    )
    demo = s.node("UQ_LoadDemoModel", digit=5, batch_size=9)
    sampled = s.sampler(demo[0], demo[1], demo[2], demo[4])
    settings = {"samples": 5, "start_percent": 0.6, "end_percent": 0.75, "levels": 4, "quantity": "denoised", "seed": 0, "cfg": 1.0}
    scored = s.node("UQ_UncertaintyEstimator", model=demo[0], positive=demo[1], latent=sampled, **settings)
    images = s.node("VAEDecode", samples=scored, vae=demo[3])
    heat = s.heatmap(scored[1], images)
    before, after = s.preview(images, "Images"), s.preview(heat, "Bright = unsure")
    s.columns = [[demo, sampled], [scored, images, heat], [before, after], [s.report(scored[1])]]
    return s


def guide() -> Sheet:
    s = Sheet(
        "## Guided beside unguided\n\n"
        "Both samplers start from the same noise. The one titled Unguided is a stock KSampler; the other steers each step "
        "towards predictions that the model is surer of.\n\n"
        "- **strength** 0 draws exactly what KSampler draws; 0.02 moves each step by 2 % of the predicted noise.\n"
        "- **mode** posterior mixes the predictions of several noise draws by how sure they are, 2 more model calls per step. Surer also "
        "means more alike: turn strength up and watch variety shrink.\n"
        "- **mode** forward follows the gradient of the uncertainty by finite differences, 4 more model calls per step, and wants a "
        "strength of about 0.1; autograd takes the exact gradient."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=9)
    record = s.record(demo[0])
    plain = s.sampler(record[0], demo[1], demo[2], demo[4], "Unguided")
    read = s.node("UQ_ReadUncertainty", latent=plain, record=record[1])
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    settings = {"seed": 1, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "strength": 0.02}
    settings |= {"percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
    settings |= {"mode": "posterior", "units": "relative", "preset": "measured"}
    guided = s.node("UQ_UncertaintyGuidedSampler", "Guided", GUIDED_SAMPLER, **wires, **settings)
    pictures = [s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (read, guided)]
    views = [s.preview(images, name) for images, name in zip(pictures, ("Unguided", "Guided"), strict=True)]
    reports = [s.report(read[1], "Unguided"), s.report(guided[1], "Guided")]
    s.columns = [[demo, record], [plain], [guided], [read, *pictures], views, reports]
    return s


def overnight() -> Sheet:
    s = Sheet(
        "## Only the good ones in the morning\n\n"
        "**Record Uncertainty** measures while KSampler draws and changes nothing of what it draws. **Sample Filter** then parts the "
        "batch: the worst 30 % go to **rejected**, beside the good ones.\n\n"
        "- Change **rule** or **value** and run again: only the filter runs, the sampler stays cached.\n"
        "- When nothing is accepted, Save Image behind it is skipped without an error.\n"
        "- For an overnight run set the queue to 100 and use the rule **threshold**, with a value read off the histogram.\n"
        "- Saved PNGs carry the scores in their metadata."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=16)
    record = s.record(demo[0])
    sampled = s.sampler(record[0], demo[1], demo[2], demo[4])
    read = s.node("UQ_ReadUncertainty", latent=sampled, record=record[1])
    images = s.node("VAEDecode", samples=read, vae=demo[3])
    kept = s.filter("drop_worst_percent", 30.0, uncertainty=read[1], images=images)
    good, bad = s.save(kept[0], "Accepted", "accepted/digit"), s.save(kept[1], "Rejected", "rejected/digit")
    s.columns = [[demo, record], [sampled, read, images], [kept], [good, bad], [s.report(read[1], accepted_indexes=kept[6])]]
    return s


def repaint() -> Sheet:
    s = Sheet(
        "## Paint the unsure region again\n\n"
        "1. Sample a batch and score it.\n"
        "2. Keep the better half.\n"
        "3. Take the mask of the least sure pixels (Heatmap, **percentile** 80 = the worst 20 %) and sample only these again, from another "
        "seed, with denoise 0.6.\n\n"
        "The masks go through Sample Filter too, so that each stays with its image."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=8)
    sampled = s.sampler(demo[0], demo[1], demo[2], demo[4])
    settings = {"samples": 5, "start_percent": 0.6, "end_percent": 0.75, "levels": 2, "quantity": "denoised", "seed": 0, "cfg": 1.0}
    scored = s.node("UQ_UncertaintyEstimator", model=demo[0], positive=demo[1], latent=sampled, **settings)
    images = s.node("VAEDecode", samples=scored, vae=demo[3])
    heat = s.heatmap(scored[1], images, 80.0)
    kept = s.filter("keep_best_count", 4.0, uncertainty=scored[1], images=heat, latents=scored, masks=heat[1])
    masked = s.node("SetLatentNoiseMask", samples=kept[2], mask=kept[4])
    again = s.sampler(demo[0], demo[1], demo[2], masked, "Only the unsure region", seed=2, denoise=0.6)
    old, new = (s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (kept[2], again))
    views = [s.preview(kept[0], "Kept: bright = unsure"), s.preview(old, "Before"), s.preview(new, "After")]
    s.columns = [[demo, sampled], [scored, images, heat], [kept], [masked, again, old, new], views[:2], views[2:]]
    return s


def asked() -> Sheet:
    s = Sheet(
        "## Is it what was asked for?\n\n"
        "**Prompt Information** adds noise to finished images and compares how well the model restores them with and without the prompt. "
        "Low = the image is not what was asked for; below 0 it speaks against it. 32 model calls per image.\n\n"
        "- The heatmap is bright where an image speaks against its prompt.\n"
        "- **Sample Filter** drops the worst quarter.\n\n"
        "For your own images, replace Load Demo Model and KSampler by your checkpoint, CLIP Text Encode and VAE Encode; negative is the "
        "empty prompt."
    )
    demo = s.node("UQ_LoadDemoModel", digit=4, batch_size=12)
    sampled = s.sampler(demo[0], demo[1], demo[2], demo[4])
    settings = {"samples": 4, "start_percent": 0.4, "end_percent": 0.6, "levels": 4, "seed": 0}
    scored = s.node("UQ_PromptInformation", model=demo[0], positive=demo[1], negative=demo[2], latent=sampled, **settings)
    images = s.node("VAEDecode", samples=scored, vae=demo[3])
    kept = s.filter("drop_worst_percent", 25.0, uncertainty=scored[1], images=images)
    good, bad = s.preview(kept[0], "Accepted"), s.preview(kept[1], "Rejected")
    heat = s.preview(scored[2], "Bright = against the prompt")
    s.columns = [[demo, sampled], [scored, images, heat], [kept], [good, bad], [s.report(scored[1], accepted_indexes=kept[6])]]
    return s


def swept() -> Sheet:
    s = Sheet(
        "## Choose a strength by eye\n\n"
        "**Guidance Strength Sweep** draws the same noise at each of the **values**. A column for each, a row for each image of the batch; "
        "above it what it costs, below each picture how unsure the model is (high = unsure).\n\n"
        "- Strength 0 is exactly KSampler's picture.\n"
        "- **sweep** chooses what takes the values: strength, percentile, mode or cfg.\n"
        "- **Below:** the same with the stock KSampler. Sweep Values runs all that is behind it once for each number, and Sweep Grid "
        "lays the pictures side by side; so any number input of any node can be swept."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=2)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4], "vae": demo[3]}
    settings = {"seed": 1, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    guidance = {"percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0, "mode": "posterior", "units": "relative"}
    sweep = {"values": "0, 0.02, 0.05, 0.1", "sweep": "strength", "strength": 0.02}
    swept = s.node("UQ_StrengthSweep", size=(320, 700), **wires, **settings, **sweep, **guidance)
    numbers = s.node("UQ_SweepValues", values="1, 1.5, 3, 6", name="cfg")
    sampled = s.sampler(demo[0], demo[1], demo[2], demo[4], cfg=numbers)
    images = s.node("VAEDecode", samples=sampled, vae=demo[3])
    grid = s.node("UQ_SweepGrid", images=images, labels=numbers[1], columns=0, heading="the stock KSampler")
    first = s.preview(swept, "Strength of guidance", (900, 640))
    second = s.preview(grid, "CFG, with the stock KSampler", (900, 640))
    singly = s.preview(swept[1], "The pictures one by one")
    s.columns = [[demo, numbers], [swept, sampled], [images, grid, singly], [first, second]]
    return s


NEEDED_FIRST = {"21_demo_rank_folder": "3_demo_filter_overnight"}  # which saves what the other looks at
EXAMPLES: dict[str, Callable[[], Sheet]] = {
    "1_demo_estimate": estimate,
    "2_demo_guide": guide,
    "3_demo_filter_overnight": overnight,
    "4_demo_repaint_unsure_region": repaint,
    "5_sdxl_filter": sdxl_filter,
    "6_flux_guide": flux_guide,
    "7_demo_prompt_information": asked,
    "8_demo_generative_uncertainty": generative,
    "9_demo_ensemble": ensemble,
    "10_demo_train_ensemble": trained_ensemble,
    "11_demo_strength_sweep": swept,
    "12_demo_best_of_n": best_of,
    "13_demo_until_accepted": until,
    "14_sdxl_best_of_n": sdxl_best_of,
    "15_flux_best_of_n_sampler": flux_best_of,
    "16_demo_review": review,
    "17_demo_drafts": drafts,
    "18_sdxl_drafts": sdxl_drafts,
    "19_sdxl_until_accepted": sdxl_until,
    "20_flux_strength_sweep": flux_sweep,
    "21_demo_rank_folder": rank_folder,
    "22_demo_early_stop": early_stop,
    "23_sdxl_strength_sweep": sdxl_sweep,
    "24_flux_until_accepted": flux_until,
}
