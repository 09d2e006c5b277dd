"""Nodes as ComfyUI sees them: ids are for ever, every input and output is explained, in English and Chinese, on a help page too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from comfy_server import Server
from uncertainty_nodes.core.options import (
    SINGLE_RULES,
    Bootstrap,
    Borderline,
    Colormap,
    Covariance,
    Distance,
    FilterRule,
    FolderPlace,
    FolderScore,
    FreeScore,
    GuidanceMode,
    GuidancePreset,
    GuidanceUnits,
    Moment,
    Quantity,
    Scorer,
    SearchMode,
    SweepSetting,
    Unanswered,
)
from write_locale import english

ROOT = Path(__file__).resolve().parents[3]
DOCS, LOCALES = ROOT / "web" / "docs", ROOT / "locales"
LANGUAGES = sorted(folder.name for folder in LOCALES.iterdir())
LETTERS = {"zh": r"[\u4e00-\u9fff]"}  # what a text of the language holds at least one of
# Widgets are stored by position in people's workflows: append to these lists, never reorder, rename or remove.
GUIDANCE = ["strength", "percentile", "samples", "start_percent", "end_percent", "mode", "units", "preset", "calibration"]
SAMPLING = ["model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise"]
BRANCH = ["branch_percent", "distance", "bandwidth", "moment"]
LEVELS = ["samples", "start_percent", "end_percent", "levels", "seed"]
POINTS = ["points", "fractions", "scorer", "second_scorer", "mode", "samples", "micro_batch"]
INPUTS = {
    "UQ_UncertaintyEstimator": ["model", "positive", "latent", "samples", "start_percent", "end_percent", "levels", "quantity", "seed"]
    + ["negative", "cfg"],
    "UQ_RecordUncertainty": ["model", "samples", "start_percent", "end_percent", "every", "quantity", "seed"],
    "UQ_ReadUncertainty": ["latent", "record"],
    "UQ_UncertaintyGuidedSampler": SAMPLING + GUIDANCE,
    "UQ_UncertaintyGuidance": ["model", *GUIDANCE],
    "UQ_UncertaintyGuider": ["model", "positive", "negative", "cfg", *GUIDANCE],
    "UQ_SampleFilter": ["uncertainty", "rule", "value", "images", "latents", "masks", "extra_scores", "extra_weight", "calibration"]
    + ["confidence", "borderline", "band", "review_seconds", "unanswered", "seeds"],
    "UQ_SampleUntilAccepted": [*SAMPLING, "rule", "value", "wanted", "max_attempts", "scorer", "samples", "levels"]
    + ["calibration", "enough", "previous", "previous_uncertainty", "so_far", "early_calibration", "early_limit", "confidence"],
    "UQ_RankFolder": ["place", "folder", "keep", "scorer", "samples", "levels", "model", "vae", "positive", "negative"],
    "UQ_BestOfN": [*SAMPLING, "candidates", "keep", *POINTS, "limit", "sharpness", "calibration"],
    "UQ_BestOfNSampler": ["sampler", "candidates", *POINTS],
    "UQ_DraftCandidates": [*SAMPLING, "candidates", "point", "scorer", "samples", "micro_batch"],
    "UQ_FinishDrafts": ["drafts", "chosen", "keep"],
    "UQ_Calibrate": ["uncertainty", "name", "prompt_kind", "limit", "accepted_indexes", "rejected_indexes", "bad_share", "confidence"],
    "UQ_LoadCalibration": ["name"],
    "UQ_CombineUncertainty": [f"uncertainty_{i}" for i in range(1, 5)]
    + [f"weight_{i}" for i in range(1, 5)]
    + ["accepted_indexes", "rejected_indexes"],
    "UQ_Heatmap": ["uncertainty", "opacity", "colormap", "percentile", "images", "accepted_indexes"]
    + ["compare_uncertainty", "compare_images"],
    "UQ_Report": ["uncertainty", "accepted_indexes", "images"],
    "UQ_PromptInformation": ["model", "positive", "negative", "latent", *LEVELS],
    "UQ_PhraseChecklist": ["model", "latent", "conditionings", "labels", *LEVELS],
    "UQ_PromptPhrases": ["phrases"],
    "UQ_EnsembleLoRAEmbedding": ["model", "members", "strength", "prompt", "clip", *(f"conditioning_{i}" for i in range(1, 6))],
    "UQ_EnsembleUncertainty": ["ensemble", *(name for name in SAMPLING if name not in ("model", "positive")), *BRANCH, "positive"],
    "UQ_TrainEnsemble": ["model", "latents", "positive", "members", "kind", "rank", "steps", "learning_rate", "seed"]
    + ["bootstrap", "bootstrap_size", "batch_size"],
    "UQ_SaveEnsemble": ["ensemble", "name", "export_loras"],
    "UQ_LoadEnsemble": ["model", "name"],
    "UQ_FitLaplace": ["model", "latents", "positive", "draws", "prior_precision", "seed", "covariance", "layer", "batch_size"]
    + ["noise_variance"],
    "UQ_SaveLaplace": ["laplace", "name"],
    "UQ_LoadLaplace": ["name", "prior_precision", "noise_variance"],
    "UQ_GenerativeUncertainty": [*SAMPLING, "laplace", "vae", "members", "member_steps", "clip_vision"],
    "UQ_BayesDiff": [*SAMPLING, "laplace", "skip", "draws"],
    "UQ_DropoutUncertainty": ["model", "positive", "latent", *LEVELS, "negative", "cfg"],
    "UQ_LoadDemoModel": ["digit", "batch_size"],
    "UQ_StrengthSweep": [*SAMPLING, "values", "vae", "sweep", *(name for name in GUIDANCE if name not in ("preset", "calibration"))],
    "UQ_SweepGrid": ["images", "columns", "labels", "scores", "heading"],
    "UQ_SweepValues": ["values", "name"],
}
NEWER = {"UQ_EnsembleLoRAEmbedding": ["chosen"]}  # behind all others, where ComfyUI has inputs that depend on others
OUTPUTS = {
    "UQ_UncertaintyEstimator": ["LATENT", "UNCERTAINTY", "IMAGE", "FLOAT"],
    "UQ_RecordUncertainty": ["MODEL", "UQ_RECORD"],
    "UQ_ReadUncertainty": ["LATENT", "UNCERTAINTY"],
    "UQ_UncertaintyGuidedSampler": ["LATENT", "UNCERTAINTY"],
    "UQ_UncertaintyGuidance": ["MODEL", "UQ_RECORD"],
    "UQ_UncertaintyGuider": ["GUIDER", "UQ_RECORD"],
    "UQ_SampleFilter": ["IMAGE", "IMAGE", "LATENT", "LATENT", "MASK", "FLOAT", "STRING", "BOOLEAN", "IMAGE"]
    + ["STRING", "STRING", "INT", "INT", "INT", "INT", "STRING", "STRING", "STRING"],
    "UQ_SampleUntilAccepted": ["LATENT", "UNCERTAINTY", "INT", "BOOLEAN", "STRING", "INT", "UQ_ATTEMPTS"],
    "UQ_RankFolder": ["IMAGE", "STRING", "FLOAT", "INT", "STRING", "STRING"],
    "UQ_BestOfN": ["LATENT", "UNCERTAINTY", "STRING", "INT", "UNCERTAINTY"],
    "UQ_BestOfNSampler": ["SAMPLER", "UQ_RECORD"],
    "UQ_DraftCandidates": ["UQ_DRAFTS", "LATENT", "UNCERTAINTY", "INT", "STRING"],
    "UQ_FinishDrafts": ["LATENT", "UNCERTAINTY", "INT"],
    "UQ_Calibrate": ["UQ_CALIBRATION"],
    "UQ_LoadCalibration": ["UQ_CALIBRATION"],
    "UQ_CombineUncertainty": ["UNCERTAINTY", "STRING"],
    "UQ_Heatmap": ["IMAGE", "MASK"],
    "UQ_Report": [],
    "UQ_PromptInformation": ["LATENT", "UNCERTAINTY", "IMAGE", "FLOAT"],
    "UQ_PhraseChecklist": ["FLOAT", "IMAGE", "STRING", "UNCERTAINTY"],
    "UQ_PromptPhrases": ["STRING", "STRING", "STRING"],
    "UQ_EnsembleLoRAEmbedding": ["UQ_ENSEMBLE"],
    "UQ_EnsembleUncertainty": ["LATENT", "UNCERTAINTY", "LATENT", "UNCERTAINTY"],
    "UQ_TrainEnsemble": ["UQ_ENSEMBLE", "LOSS_MAP"],
    "UQ_SaveEnsemble": ["UQ_ENSEMBLE"],
    "UQ_LoadEnsemble": ["UQ_ENSEMBLE"],
    "UQ_FitLaplace": ["UQ_LAPLACE"],
    "UQ_SaveLaplace": ["UQ_LAPLACE"],
    "UQ_LoadLaplace": ["UQ_LAPLACE"],
    "UQ_GenerativeUncertainty": ["LATENT", "IMAGE", "UNCERTAINTY"],
    "UQ_BayesDiff": ["LATENT", "UNCERTAINTY"],
    "UQ_DropoutUncertainty": ["LATENT", "UNCERTAINTY", "IMAGE", "FLOAT"],
    "UQ_LoadDemoModel": ["MODEL", "CONDITIONING", "CONDITIONING", "VAE", "LATENT", "LATENT"],
    "UQ_StrengthSweep": ["IMAGE", "IMAGE", "STRING", "FLOAT", "LATENT", "UNCERTAINTY", "STRING"],
    "UQ_SweepGrid": ["IMAGE"],
    "UQ_SweepValues": ["FLOAT", "STRING"],
}
CHOICES = {
    "quantity": Quantity,
    "mode": GuidanceMode,
    "units": GuidanceUnits,
    "preset": GuidancePreset,
    "rule": FilterRule,
    "sweep": SweepSetting,
    "colormap": Colormap,
    "distance": Distance,
    "moment": Moment,
    "bootstrap": Bootstrap,
    "covariance": Covariance,
    "scorer": Scorer,
    "borderline": Borderline,
    "unanswered": Unanswered,
    "place": FolderPlace,
}
OWN_CHOICES = {
    ("UQ_BestOfN", "mode"): list(SearchMode),
    ("UQ_BestOfNSampler", "mode"): [SearchMode.PRUNE, SearchMode.RESAMPLE],
    ("UQ_RecordUncertainty", "quantity"): [*Quantity, *FreeScore],
    ("UQ_SampleUntilAccepted", "rule"): SINGLE_RULES,
    ("UQ_RankFolder", "scorer"): list(FolderScore),
}


@pytest.fixture(scope="module")
def nodes(comfy: Server) -> dict[str, dict[str, Any]]:
    return {name: info for name, info in comfy.object_info().items() if info["python_module"] == "custom_nodes.uncertainty-nodes"}


def declared(info: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: spec for part in ("required", "optional") for name, spec in info["input"].get(part, {}).items()}


def test_ids_inputs_and_outputs_are_for_ever(nodes: dict[str, Any]) -> None:
    assert set(INPUTS) == set(OUTPUTS) <= nodes.keys()
    for name, inputs in INPUTS.items():
        assert list(declared(nodes[name])) in (inputs, [*inputs, *NEWER.get(name, [])]), name
    assert {name: nodes[name]["output"] for name in OUTPUTS} == OUTPUTS


def test_every_node_is_found_and_explained(nodes: dict[str, Any]) -> None:
    for name, info in nodes.items():
        assert name.startswith("UQ_") and info["category"].split("/")[0] == "uncertainty"
        assert info["display_name"] and info["description"].strip()
        assert all(spec[1].get("tooltip") for spec in declared(info).values()), name
        assert all(info["output_tooltips"]) and len(info["output_tooltips"]) == len(info["output"]), name
    assert len({info["display_name"] for info in nodes.values()}) == len(nodes)


def test_choices_and_their_defaults_come_from_the_options(nodes: dict[str, Any]) -> None:
    found = 0
    for node, info in nodes.items():
        for name, spec in declared(info).items():
            if name in CHOICES:
                assert spec[1]["options"] == [choice.value for choice in OWN_CHOICES.get((node, name), CHOICES[name])]
                assert spec[1]["default"] in spec[1]["options"]
                found += 1
    assert found >= len(CHOICES)


def test_every_node_has_a_help_page_that_tells_its_price(nodes: dict[str, Any]) -> None:
    for name, info in nodes.items():
        page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {info['display_name']}\n")
        assert "## Price" in page or name == "UQ_LoadDemoModel", name


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.stem)
def test_pictures_of_help_pages_are_there_and_small(page: Path) -> None:
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (DOCS / picture).stat().st_size < 100_000


def texts(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def paths(tree: dict[str, Any], above: str = "") -> dict[str, str]:
    flat = {}
    for name, value in tree.items():
        flat |= paths(value, f"{above}{name}/") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat


def test_the_english_texts_are_those_of_the_nodes(comfy: Server) -> None:
    written, shown = texts("en"), english(comfy.object_info())
    for node, inputs in NEWER.items():
        for name in inputs:
            shown[node]["inputs"].setdefault(name, written[node]["inputs"][name])
    assert written == shown, "run tests/support/web/write_locale.py, then translate"


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_all_is_translated(language: str) -> None:
    originals, translated = paths(texts("en")), paths(texts(language))
    assert translated.keys() == originals.keys()
    names = {"VAE", "CFG", "Latent"}
    assert [path for path, text in translated.items() if text not in names and not re.search(LETTERS.get(language, r"\w"), text)] == []
    assert [path for path, text in translated.items() if text not in names and text == originals[path]] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_signs_that_the_front_end_reads_as_commands(language: str) -> None:
    assert [path for path, text in paths(texts(language)).items() if re.search(r"[{}|@]", text)] == []


def test_help_pages_and_texts_are_served(comfy: Server) -> None:
    page = (DOCS / "UQ_Heatmap.md").read_text(encoding="utf-8")
    assert comfy.get("/extensions/uncertainty-nodes/docs/UQ_Heatmap.md").decode() == page
    served = comfy.get("/i18n")
    for language in LANGUAGES:
        assert texts(language).items() <= served[language]["nodeDefs"].items()
