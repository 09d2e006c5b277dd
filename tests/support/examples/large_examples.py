"""Example workflows for SDXL and Flux: variants of those that run on the demo model."""

from __future__ import annotations

from typing import Any

from choice_examples import DRAFT, REVIEW
from comfy_graph import Node
from search_examples import BEST, POINTS, STEPS, TALL
from sheet import GUIDER, SAMPLER, WIDE_PICTURE, Sheet

PORTRAIT = "portrait of a watchmaker at work, hands holding tiny gears, workshop, window light"
FLAWS = "blurry, deformed hands, text"
SDXL = {**STEPS, "steps": 25, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
SWEEP = {"values": "0, 0.01, 0.02, 0.04", "sweep": "strength", "strength": 0.02, "percentile": 0.0, "samples": 2}
SWEEP |= {"start_percent": 0.3, "end_percent": 1.0, "mode": "posterior", "units": "relative"}
FLUX = ("flux1-dev.safetensors", "clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "ae.safetensors")
FLUX_FILES = (
    "Needs a GPU, and in **models**: **diffusion_models/flux1-dev.safetensors**, **text_encoders/clip_l.safetensors**, "
    "**text_encoders/t5xxl_fp8_e4m3fn.safetensors**, **vae/ae.safetensors**.\n\n"
)


def sdxl(s: Sheet, negative: str, batch: int) -> tuple[Node, dict[str, Any], list[Node]]:
    """The checkpoint, what a sampler needs of it, and their nodes from top to bottom."""
    loader = s.node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    words = [s.node("CLIPTextEncode", size=(400, 140), text=text, clip=loader[1]) for text in (PORTRAIT, negative)]
    empty = s.node("EmptyLatentImage", width=1024, height=1024, batch_size=batch)
    return loader, {"model": loader[0], "positive": words[0], "negative": words[1], "latent_image": empty}, [loader, *words, empty]


def sdxl_filter() -> Sheet:
    s = Sheet(
        "## SDXL: keep the good ones\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. Record Uncertainty measures at the steps between 60 % "
        "and 75 % of the schedule: about 4 of 25 steps, 5 model calls per image at each.\n\n"
        "On a small model of colour photos this score hardly told bad images from good ones, and **Prompt Information** did: try both, "
        "and look at the rejected images.\n\n"
        "Any other checkpoint works the same way: SD 1.5, SD 3.5, Illustrious, Pony."
    )
    loader, wires, column = sdxl(s, FLAWS, 4)
    record = s.record(wires["model"])
    sampled = s.sampler(record[0], wires["positive"], wires["negative"], wires["latent_image"], **SDXL)
    read = s.node("UQ_ReadUncertainty", latent=sampled, record=record[1])
    images = s.node("VAEDecode", samples=read, vae=loader[2])
    kept = s.filter("drop_worst_percent", 25.0, uncertainty=read[1], images=images)
    views = [s.save(kept[0], "Accepted", "accepted/sdxl"), s.save(kept[1], "Rejected", "rejected/sdxl")]
    heat = s.heatmap(read[1], images)
    columns = [column, [record, sampled, read, images], [kept], views]
    s.columns = [*columns, [heat, s.preview(heat, "Bright = unsure"), s.report(read[1], accepted_indexes=kept[6])]]
    return s


def sdxl_best_of() -> Sheet:
    s = Sheet(
        "## SDXL: the best of eight portraits\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. Eight candidates are compared at 40 % of the schedule "
        "by prompt information, two are finished, and the better one is saved.\n\n"
        "**micro_batch** 2 lets two candidates share a call: faster on a large GPU, at twice the memory. Any other "
        "checkpoint works the same way."
    )
    loader, wires, column = sdxl(s, "", 1)
    best = s.node("UQ_BestOfN", "", TALL, **wires, **SDXL, **BEST | {"points": "0.4", "micro_batch": 2}, candidates=8)
    images = s.node("VAEDecode", samples=best, vae=loader[2])
    s.columns = [column, [best], [images, s.save(images, "Best of 8", "best_of/sdxl")], [s.report(best[4])]]
    return s


def sdxl_drafts() -> Sheet:
    s = Sheet(
        "## SDXL: choose among eight drafts\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. Eight portraits are stopped at 40 % of the schedule. "
        "The run then shows you all of them, sorted from sure to unsure, and finishes those that you accept.\n\n"
        "A draft shows the composition, not yet the details: hands are decided later. Any other checkpoint works the same way."
    )
    loader, wires, column = sdxl(s, "", 1)
    drafted = s.node("UQ_DraftCandidates", "", TALL, **wires, **SDXL, **DRAFT | {"point": 0.4, "micro_batch": 2})
    pictures = s.node("VAEDecode", "Drafts as pictures", samples=drafted[1], vae=loader[2])
    kept = s.filter("keep_best_count", 2.0, uncertainty=drafted[2], images=pictures, **REVIEW | {"band": 100.0})
    finished = s.node("UQ_FinishDrafts", drafts=drafted, chosen=kept[6], keep=1)
    images = s.node("VAEDecode", "Finished", samples=finished, vae=loader[2])
    s.columns = [column, [drafted], [pictures, kept], [finished, images, s.save(images, "Finished", "drafts/sdxl")]]
    return s


def sdxl_until() -> Sheet:
    s = Sheet(
        "## SDXL: again until it is good\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. Four portraits tell what scores are usual. Then "
        "**Sample Until Accepted** draws one image after another, each with another seed, until one is better than the middle of those, or "
        "eight are drawn.\n\n"
        "Once Calibrate has collected some 30 scores under its **name**, Load Calibration gives them to later workflows."
    )
    loader, wires, column = sdxl(s, "", 4)
    one = s.node("EmptyLatentImage", "One image", width=1024, height=1024, batch_size=1)
    earlier = s.sampler(
        wires["model"], wires["positive"], wires["negative"], wires["latent_image"], "Earlier images", **SDXL | {"seed": 100}
    )
    settings = {"samples": 4, "start_percent": 0.4, "end_percent": 0.6, "levels": 4, "seed": 0}
    given = {name: wires[name] for name in ("model", "positive", "negative")}
    scored = s.node("UQ_PromptInformation", **given, latent=earlier, **settings)
    calibration = s.node("UQ_Calibrate", uncertainty=scored[1], name="sdxl_portraits")
    rule = {"rule": "calibrated", "value": 50.0, "wanted": 1, "max_attempts": 8, "scorer": "information", "samples": 4, "levels": 4}
    drawn = s.node("UQ_SampleUntilAccepted", "", TALL, **given, latent_image=one, calibration=calibration, **SDXL, **rule, enough=False)
    images = s.node("VAEDecode", samples=drawn, vae=loader[2])
    s.columns = [column, [one, earlier], [scored, calibration], [drawn], [images, s.save(images, "Accepted", "until/sdxl")]]
    return s


def sdxl_sweep() -> Sheet:
    s = Sheet(
        "## SDXL: choose a strength by eye\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. **Guidance Strength Sweep** draws the same two noises "
        "at each of the **values**: a column for each value, a row for each noise. Above each column stands what it costs.\n\n"
        "On a small model of colour photos strength 0.02 made images worse. So let the pictures decide, and keep strength 0, which is "
        "exactly KSampler's picture, if you like it best. The score below a picture says how unsure the model is (high = unsure): a lower "
        "one is not a better picture.\n\n"
        "Any other checkpoint works the same way. To compare CFG scales, set **sweep** to cfg and **strength** to 0."
    )
    loader, wires, column = sdxl(s, FLAWS, 2)
    swept = s.node("UQ_StrengthSweep", size=(320, 700), **wires, vae=loader[2], **SDXL, **SWEEP)
    view = s.preview(swept, "Strength of guidance", (900, 640))
    s.columns = [column, [swept], [view, s.save(swept[1], "The pictures one by one", "sweep/sdxl")]]
    return s


def flux_models(s: Sheet) -> tuple[Node, Node, Node, Node, Node]:
    """The model, its text encoders and its VAE; the encoded prompt, and the same with guidance."""
    model = s.node("UNETLoader", unet_name=FLUX[0], weight_dtype="fp8_e4m3fn")
    clip = s.node("DualCLIPLoader", clip_name1=FLUX[1], clip_name2=FLUX[2], type="flux")
    vae = s.node("VAELoader", vae_name=FLUX[3])
    text = "a glass chess set in the middle of a game, low sun, long shadows"
    words = s.node("CLIPTextEncode", size=(400, 140), text=text, clip=clip)
    return model, clip, vae, words, s.node("FluxGuidance", conditioning=words, guidance=3.5)


def flux(s: Sheet, batch: int) -> tuple[Node, dict[str, Any], list[list[Node]]]:
    """The VAE, what a sampler needs of the other models, and their nodes in columns."""
    model, clip, vae, words, positive = flux_models(s)
    empty = s.node("EmptySD3LatentImage", width=1024, height=1024, batch_size=batch)
    wires = {"model": model, "positive": positive, "negative": words, "latent_image": empty}
    return vae, wires, [[model, clip, vae], [words, positive, empty]]


def custom_sampling(s: Sheet, model: Node, vae: Node, wires: dict[str, Node], record: Any) -> tuple[Node, ...]:
    """One image of 20 steps by what is wired: the noise levels and the empty latent, the run, its scores, the image, its heatmap."""
    sigmas = s.node("BasicScheduler", model=model, scheduler="simple", steps=20, denoise=1.0)
    empty = s.node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1)
    sampled = s.node("SamplerCustomAdvanced", **wires, sigmas=sigmas, latent_image=empty)
    read = s.node("UQ_ReadUncertainty", latent=sampled, record=record)
    images = s.node("VAEDecode", samples=read, vae=vae)
    return sigmas, empty, sampled, read, images, s.heatmap(read[1], images)


def flux_guide() -> Sheet:
    s = Sheet(
        "## Flux: guidance with custom sampling\n\n"
        f"{FLUX_FILES}"
        "**Uncertainty Guider** stands where CFG Guider or Basic Guider stands: cfg 1 is right for "
        "distilled models, the negative then does nothing.\n\n"
        "Price: at each step **samples** more model calls per image. **start_percent** 0.3 spares the first steps. "
        "Bypass the guider's effect with strength 0: the picture is then exactly the plain one. "
        "On a small model of colour photos guidance made images worse: compare the two."
    )
    model, clip, vae, words, positive = flux_models(s)
    negative = s.node("ConditioningZeroOut", conditioning=words)
    settings = {"cfg": 1.0, "strength": 0.02, "percentile": 0.0, "samples": 2, "start_percent": 0.3, "end_percent": 1.0}
    settings |= {"mode": "posterior", "units": "relative", "preset": "measured"}
    guider = s.node("UQ_UncertaintyGuider", size=GUIDER, model=model, positive=positive, negative=negative, **settings)
    noise, sampler = s.node("RandomNoise", noise_seed=1), s.node("KSamplerSelect", sampler_name="euler")
    wires = {"noise": noise, "guider": guider, "sampler": sampler}
    sigmas, empty, sampled, read, images, heat = custom_sampling(s, model, vae, wires, guider[1])
    views = [s.save(images, "Guided", "flux_guided"), s.preview(heat, "Bright = unsure", WIDE_PICTURE)]
    columns = [[model, clip, vae], [words, positive, negative, guider], [noise, sampler, sigmas, empty]]
    s.columns = [*columns, [sampled, read, images, heat], views, [s.report(read[1])]]
    return s


def flux_best_of() -> Sheet:
    s = Sheet(
        "## Flux: the best of four, with custom sampling\n\n"
        f"{FLUX_FILES}"
        "**Best of N Sampler** stands between KSamplerSelect and SamplerCustomAdvanced. Flux dev never learned to predict without a prompt "
        "and Basic Guider has no negative, so candidates are compared by **denoised**: how sure the model is of the image."
    )
    model, clip, vae, words, positive = flux_models(s)
    guider = s.node("BasicGuider", model=model, conditioning=positive)
    noise, sampler = s.node("RandomNoise", noise_seed=1), s.node("KSamplerSelect", sampler_name="euler")
    best = s.node("UQ_BestOfNSampler", size=(300, 330), sampler=sampler, candidates=4, **POINTS | {"scorer": "denoised"})
    wires = {"noise": noise, "guider": guider, "sampler": best}
    sigmas, empty, sampled, read, images, heat = custom_sampling(s, model, vae, wires, best[1])
    views = [s.save(images, "Best of 4", "best_of/flux"), s.preview(heat, "Bright = unsure", WIDE_PICTURE)]
    columns = [[model, clip, vae], [words, positive, guider], [noise, sampler, best], [sigmas, empty, sampled]]
    s.columns = [*columns, [read, images, heat], views]
    return s


def flux_sweep() -> Sheet:
    s = Sheet(
        "## Flux: choose a strength by eye\n\n"
        f"{FLUX_FILES}"
        "**Guidance Strength Sweep** draws the same noise at each of the **values**, from the plain picture at 0 upwards. cfg 1 is right "
        "for distilled models; the negative then does nothing.\n\n"
        "On a small model of colour photos guidance made images worse: compare with 0."
    )
    vae, wires, columns = flux(s, 1)
    settings = {**STEPS, "scheduler": "simple", **SWEEP, "values": "0, 0.02, 0.05"}
    swept = s.node("UQ_StrengthSweep", size=(320, 700), **wires, vae=vae, **settings)
    view = s.preview(swept, "Strength of guidance", (900, 640))
    s.columns = [*columns, [swept], [view, s.save(swept[1], "The pictures one by one", "sweep/flux")]]
    return s


def flux_until() -> Sheet:
    s = Sheet(
        "## Flux: again until it is good\n\n"
        f"{FLUX_FILES}"
        "Four images tell what scores are usual. Then **Sample Until Accepted** draws one image after another, each with another seed, "
        "until one is better than the middle of those, or eight are drawn. cfg 1 is right for distilled models; the negative then does "
        "nothing.\n\n"
        "Flux dev never learned to predict without a prompt, so images are judged by **denoised**: how sure the model is of the image. On "
        "a small model of colour photos this score hardly told bad images from good ones: compare what was accepted with the earlier "
        "images.\n\n"
        "Once Calibrate has collected some 30 scores under its **name**, Load Calibration gives them to later workflows."
    )
    vae, wires, columns = flux(s, 4)
    one = s.node("EmptySD3LatentImage", "One image", width=1024, height=1024, batch_size=1)
    steps = {**STEPS, "scheduler": "simple"}
    earlier = s.node("KSampler", "Earlier images", SAMPLER, **wires, **steps | {"seed": 100})
    window = {"start_percent": 0.6, "end_percent": 0.75, "seed": 0, "cfg": 1.0}
    measure = {"samples": 4, "levels": 4}
    given = {name: wires[name] for name in ("model", "positive")}
    scored = s.node("UQ_UncertaintyEstimator", **given, latent=earlier, quantity="denoised", **measure, **window)
    calibration = s.node("UQ_Calibrate", uncertainty=scored[1], name="flux_chess")
    rule = {"rule": "calibrated", "value": 50.0, "wanted": 1, "max_attempts": 8, "scorer": "denoised", "enough": False}
    wires |= {"latent_image": one, "calibration": calibration}
    drawn = s.node("UQ_SampleUntilAccepted", "", TALL, **wires, **steps, **rule, **measure)
    images = [s.node("VAEDecode", samples=latent, vae=vae) for latent in (scored, drawn)]
    views = [s.preview(images[0], "Earlier images", WIDE_PICTURE), s.save(images[1], "Accepted", "until/flux")]
    s.columns = [*columns, [one, earlier], [scored, calibration], [drawn], [*images, *views]]
    return s
