"""Example workflows of ensembles."""

from __future__ import annotations

from typing import Any

from comfy_graph import Node
from sheet import SAMPLER, WIDE_PICTURE, Sheet

SETTINGS = {"steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "branch_percent": 0.3}
SETTINGS |= {"distance": "w2", "bandwidth": 0.0, "moment": "last"}


def sampled(s: Sheet, demo: Node, members: Any, seed: int) -> Node:
    wires = {"ensemble": members, "negative": demo[2], "latent_image": demo[4], "positive": demo[1]}
    return s.node("UQ_EnsembleUncertainty", "", (SAMPLER[0], 560), seed=seed, **wires, **SETTINGS)


def parted(s: Sheet, demo: Node, drawn: Node, percent: float) -> list[list[Node]]:
    """From the sampler on: what each member draws, and the filter."""
    images, members = (s.node("VAEDecode", samples=latent, vae=demo[3]) for latent in (drawn, drawn[2]))
    kept = s.filter("drop_worst_percent", percent, uncertainty=drawn[1], images=images)
    each = s.preview(members, "What each member draws", WIDE_PICTURE)
    views = [s.preview(kept[0], "Accepted"), s.preview(kept[1], "Rejected")]
    return [[images, kept], [members, each, s.report(drawn[1], accepted_indexes=kept[6])], views]


def ensemble() -> Sheet:
    s = Sheet(
        "## What has the model learned too little of?\n\n"
        "The ensemble that comes with the demo model has five members, each with its own idea of every digit. **Ensemble Uncertainty** "
        "lets one of them draw the start and each go on alone: where they have learned enough they draw the same.\n\n"
        "- Change **digit** in Load Demo Model: of 0, 4 and 8 the members saw 1 % of the images, of 1, 5 and 9 10 %, of the others all.\n"
        "- **Sample Filter** drops the images that they agree on least.\n\n"
        "For your own models, use Ensemble LoRA / Embedding with LoRAs or embeddings that you have, or Train Ensemble."
    )
    demo = s.node("UQ_LoadDemoModel", digit=8, batch_size=6)
    members = s.node("UQ_LoadEnsemble", model=demo[0], name="demo (bundled)")
    drawn = sampled(s, demo, members, 1)
    s.columns = [[demo, members], [drawn], *parted(s, demo, drawn, 34.0)]
    return s


def trained_ensemble() -> Sheet:
    s = Sheet(
        "## Train an ensemble, and ask it\n\n"
        "Five members are trained for 20 steps on the 50 real digits that Load Demo Model brings, each on its own random part of them. "
        "They learn the digit anew; nothing else of the model changes. Then they draw, and **Sample Filter** drops the images that they "
        "agree on least.\n\n"
        "- For your own images, wire Load Image and VAE Encode to **latents**, and use more steps: some hundreds.\n"
        "- **kind** lora trains LoRAs instead; Save Ensemble can export them."
    )
    demo = s.node("UQ_LoadDemoModel", digit=3, batch_size=8)
    options = {"members": 5, "kind": "embedding", "rank": 8, "steps": 20, "learning_rate": 0.0, "seed": 0}
    options |= {"bootstrap": "with_replacement", "bootstrap_size": 0, "batch_size": 4}
    members = s.node("UQ_TrainEnsemble", size=(300, 400), model=demo[0], latents=demo[5], positive=demo[1], **options)
    losses = s.node("LossGraphNode", size=(300, 320), loss=members[1], filename_prefix="ensemble_losses")
    drawn = sampled(s, demo, members, 2)
    s.columns = [[demo], [members, losses], [drawn], *parted(s, demo, drawn, 25.0)]
    return s
