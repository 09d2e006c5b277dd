"""Example workflows of searches: best of N, and until accepted."""

from __future__ import annotations

from sheet import SAMPLER, WIDE_PICTURE, Sheet

TALL = (SAMPLER[0], 780)
POINTS = {"points": "0.5", "fractions": "0.25", "scorer": "information", "second_scorer": "none", "mode": "prune"}
POINTS |= {"samples": 2, "micro_batch": 1}
STEPS = {"seed": 1, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
BEST = {**POINTS, "keep": 1, "limit": 50.0, "sharpness": 1.0}
FLUX = ("flux1-dev.safetensors", "clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "ae.safetensors")


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
    s.columns = [[demo, plain], [best], pictures, views, [s.report(best[1]), s.report(best[4])]]
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


def sdxl_best_of() -> Sheet:
    s = Sheet(
        "## SDXL: the best of eight portraits\n\n"
        "Needs a GPU and **sd_xl_base_1.0.safetensors** in **models/checkpoints**. Eight candidates are compared at 40 % of the schedule "
        "by prompt information, two are finished, and the better one is saved.\n\n"
        "**micro_batch** 2 lets two candidates share a call: faster on a large GPU, at twice the memory. Any other "
        "checkpoint works the same way."
    )
    loader = s.node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    good = "portrait of a watchmaker at work, hands holding tiny gears, workshop, window light"
    words = [s.node("CLIPTextEncode", size=(400, 140), text=text, clip=loader[1]) for text in (good, "")]
    empty = s.node("EmptyLatentImage", width=1024, height=1024, batch_size=1)
    steps = {**STEPS, "steps": 25, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
    wires = {"model": loader[0], "positive": words[0], "negative": words[1], "latent_image": empty}
    best = s.node("UQ_BestOfN", "", TALL, **wires, **steps, **BEST | {"points": "0.4", "micro_batch": 2}, candidates=8)
    images = s.node("VAEDecode", samples=best, vae=loader[2])
    s.columns = [[loader, *words, empty], [best], [images, s.save(images, "Best of 8", "best_of/sdxl")], [s.report(best[4])]]
    return s


def flux_best_of() -> Sheet:
    s = Sheet(
        "## Flux: the best of four, with custom sampling\n\n"
        "Needs a GPU, and in **models**: **diffusion_models/flux1-dev.safetensors**, **text_encoders/clip_l.safetensors**, "
        "**text_encoders/t5xxl_fp8_e4m3fn.safetensors**, **vae/ae.safetensors**.\n\n"
        "**Best of N Sampler** stands between KSamplerSelect and SamplerCustomAdvanced. Flux dev never learned to predict without a prompt "
        "and Basic Guider has no negative, so candidates are compared by **denoised**: how sure the model is of the image."
    )
    model = s.node("UNETLoader", unet_name=FLUX[0], weight_dtype="fp8_e4m3fn")
    clip = s.node("DualCLIPLoader", clip_name1=FLUX[1], clip_name2=FLUX[2], type="flux")
    vae = s.node("VAELoader", vae_name=FLUX[3])
    text = "a glass chess set in the middle of a game, low sun, long shadows"
    words = s.node("CLIPTextEncode", size=(400, 140), text=text, clip=clip)
    positive = s.node("FluxGuidance", conditioning=words, guidance=3.5)
    guider = s.node("BasicGuider", model=model, conditioning=positive)
    noise, sampler = s.node("RandomNoise", noise_seed=1), s.node("KSamplerSelect", sampler_name="euler")
    best = s.node("UQ_BestOfNSampler", size=(300, 330), sampler=sampler, candidates=4, **POINTS | {"scorer": "denoised"})
    sigmas = s.node("BasicScheduler", model=model, scheduler="simple", steps=20, denoise=1.0)
    empty = s.node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1)
    wires = {"noise": noise, "guider": guider, "sampler": best, "sigmas": sigmas, "latent_image": empty}
    sampled = s.node("SamplerCustomAdvanced", **wires)
    read = s.node("UQ_ReadUncertainty", latent=sampled, record=best[1])
    images = s.node("VAEDecode", samples=read, vae=vae)
    heat = s.heatmap(read[1], images)
    views = [s.save(images, "Best of 4", "best_of/flux"), s.preview(heat, "Bright = unsure", WIDE_PICTURE)]
    columns = [[model, clip, vae], [words, positive, guider], [noise, sampler, best], [sigmas, empty, sampled]]
    s.columns = [*columns, [read, images, heat], views]
    return s
