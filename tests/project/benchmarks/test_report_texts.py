"""What the report, the README and the help say: rules by which they judge, and that they say what the results say."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("diffusers")

from uncertainty_nodes.benchmarks.shared import common  # noqa: E402


def test_the_committed_report_is_what_the_committed_results_say(benchmark, monkeypatch):
    report = benchmark("report.write_report")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    assert (common.BENCHMARKS / "REPORT.md").read_text(encoding="utf-8") == report.report()


def test_every_figure_of_the_readme_is_a_result(benchmark, monkeypatch):
    readme = benchmark("report.readme")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    text = readme.README.read_text(encoding="utf-8")
    section = text[text.index("## What it can and cannot do") : text.index("## Cost")]
    for piece in (*readme.blocks().values(), *readme.figures()):
        assert piece in section, "run python benchmarks/report/readme.py, or correct the text by hand"
        section = section.replace(piece, "")
    plain = next(line for line in section.splitlines() if line.startswith("| plain |"))  # a row without a gain
    for known in (*readme.SETTINGS, plain, "p < 0.5", "0.5 is chance", "about 0.6"):
        section = section.replace(known, "")
    assert not re.findall(r"[^\n]*\d\.\d[^\n]*", re.sub(r"(CFG|posterior|strength|forward) \d\.\d+|guidance at 0\.02", "", section))


def test_every_claim_of_the_readme_and_the_help_holds(benchmark, monkeypatch):
    readme = benchmark("report.readme")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    text = readme.README.read_text(encoding="utf-8")
    for claim, holds in readme.claims().items():
        assert claim in text and holds, claim
    root = readme.README.parent
    assert readme.control_is_better()
    for page in ("Guidance", "GuidedSampler", "Guider"):
        assert readme.HELP in (root / "web" / "docs" / f"UQ_Uncertainty{page}.md").read_text(encoding="utf-8")
    assert readme.mix_finds_hardly_more()
    assert readme.MIX_HELP in (root / "web" / "docs" / "UQ_UncertaintyEstimator.md").read_text(encoding="utf-8")


def test_every_measured_figure_of_the_help_pages_is_a_result(benchmark, monkeypatch):
    pages = benchmark("report.help")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    assert not pages.lacking()


def row(gain: float, low: float, high: float, images: int = 2000) -> dict[str, Any]:
    agreement = {"agreement_gain": gain / 10, "agreement_gain_interval": [low / 10, high / 10], "recall": 0.9 - gain / 10}
    return {"images": images, "nfe": 100, "fid_gain": gain, "fid_gain_interval": [low, high], **agreement}


@pytest.mark.parametrize(
    ("guided", "added", "said", "and_said"),
    [
        (row(1.0, 0.8, 1.2), row(0.8, 0.5, 1.1), "Guidance improves", "goes beyond it"),
        (row(1.0, 0.8, 1.2), row(-0.5, -0.9, 0.1), "Guidance improves", "adds nothing"),
        (row(1.0, 0.8, 1.2), row(-0.5, -0.9, -0.1), "Guidance improves", "falls short"),
        (row(1.0, 0.8, 1.2), row(0.1, -0.2, 0.4), "Guidance improves", "is not shown"),
        (row(0.1, -0.2, 0.4), row(0.1, -0.1, 0.3), "is not shown to improve", "is not shown"),
        (row(-0.5, -0.8, -0.2), row(-0.5, -0.8, 0.1), "does not improve sample quality at any setting", "adds nothing"),
    ],
)
def test_what_is_said_of_guidance(benchmark, guided, added, said, and_said):
    few = row(9, 8, 10, images=300)
    settings = {"plain": row(0, 0, 0), "forward 0.2": guided, "forward 0.05": few, "eps x 1.02": row(0.3, 0.2, 0.4), "eps x 1.03": few}
    beyond = {"forward 0.2": {"eps x 1.03": row(5, 4, 6), "eps x 1.02": added}}
    text = benchmark("report.verdicts").guidance({"settings": settings, "beyond": beyond})
    assert said in text and and_said in text and "`forward 0.2`" in text  # not the one of few images
    assert "`eps x 1.02`, gains" in text or "`eps x 1.02` gains" in text  # the control that leaves least
    assert ("More images do show" in text) == (guided["fid_gain"] > 0.5) == ("recall 0.90 to 0.80" in text)


@pytest.mark.parametrize(
    ("rival", "said"), [(row(3.0, 2.5, 3.5), "`forward 0.2` gain clearly"), (row(1.5, 0.9, 2.1), "none gains clearly")]
)
def test_what_is_said_of_the_default(benchmark, rival, said):
    settings = {"plain": row(0, 0, 0), "posterior 0.02": row(1.0, 0.8, 1.2), "forward 0.2": rival, "forward 0.1": row(9, 8, 10, images=300)}
    text = benchmark("report.verdicts").of_default(settings)
    assert "`posterior 0.02`: FID gain +1.00" in text and said in text and "Most agreement: `forward 0.2`" in text


def cfg_results(guided: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    control = row(1.2, 1.0, 1.4) | {"nfe": 40, "agreement": 0.97, "fid": 0.8}
    steered = guided | {"nfe": 80, "agreement": 0.99, "fid": 0.9}
    free = row(0.9, 0.8, 1.0) | {"nfe": 20, "agreement": 0.95, "fid": 1.1}
    settings = {"plain": row(0, 0, 0) | {"agreement": 0.9}, "eps x 1.02": free, "CFG 1.5": control, "CFG 1.5, posterior 0.02": steered}
    return {"settings": settings, "seeds": [1, 2, 3], "beyond": {"CFG 1.5, posterior 0.02": {"CFG 1.5": added, "eps x 1.02": added}}}


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (row(0.3, 0.1, 0.5), "uncertainty guidance gains more"),
        (row(0.1, -0.1, 0.3), "is not shown to gain you anything"),
        (row(-0.1, -0.3, 0.1), "is not shown to gain you anything"),
        (row(-0.3, -0.5, -0.1), "gives you less"),
    ],
)
def test_what_is_said_to_who_uses_cfg(benchmark, added, said):
    text = benchmark("report.under_cfg.guidance").in_short(cfg_results(row(1.3, 1.1, 1.5), added))
    assert said in text and "`CFG 1.5` (40 calls) gains +1.20" in text and "the free `eps x 1.02` gains +0.90" in text


def test_what_is_said_in_short_of_guidance_rests_on_several_seeds(benchmark):
    one_seed = {"settings": {"plain": row(0, 0, 0), "posterior 0.05": row(9, 8, 10)}, "beyond": {"posterior 0.05": {}}}
    several = cfg_results(row(1.3, 1.1, 1.5), row(0.3, 0.1, 0.5))
    several["settings"]["posterior 0.02"] = row(0.5, 0.4, 0.6)
    several["beyond"]["posterior 0.02"] = {"CFG 1.5": row(-1, -2, -0.5), "eps x 1.02": row(-0.4, -0.5, -0.3)}
    text = benchmark("report.verdicts").in_short({"guidance": one_seed, "guidance_cfg": several})[0]
    assert "`posterior 0.02`, gains +0.50" in text and text.endswith("Seeds 1, 2, 3.") and "CFG" not in text
    assert "`eps x 1.02` gains more" in text and "posterior 0.05" not in text


def test_verdicts(benchmark):
    verdicts, claims = benchmark("report.verdicts"), benchmark("report.claims")
    assert [verdicts.sign(g, i) for g, i in [(1, [0.5, 2]), (1, [-1, 2]), (-1, [-2, 1]), (-1, [-2, -0.5])]] == [
        verdicts.PROVEN,
        verdicts.LEANING,
        verdicts.REFUTED,
        verdicts.CONTRARY,
    ]
    assert claims.ranked(2, [1.5, 2.5], 1, [0.5, 1.4]) == verdicts.PROVEN
    assert claims.ranked(2, [1.2, 2.5], 1, [0.5, 1.4]) == verdicts.LEANING
    assert claims.ranked(1, [0.5, 1.4], 2, [1.5, 2.5]) == verdicts.CONTRARY


@pytest.mark.parametrize(
    ("auroc", "within", "gain", "said"),
    [
        (0.3, 0.6, (-1, 1), "They point the wrong way, calling good photos the worse ones: `a`."),
        (0.52, 0.6, (-1, 1), "Not shown to find bad photos, AUROC above a half: `a`."),
        (0.54, 0.54, (-1, 1), "They find hardly any, AUROC below 0.55: `a`."),
        (0.8, 0.6, (-1, 1), "They tell classes apart more than photos of one class: `a`."),
        (0.7, 0.65, (-3, -1), "Filtering by them makes FID worse than by chance: `a`."),
        (0.7, 0.65, (1, 3), "FID is better than by chance for `a` (+2.00)."),
        (0.7, 0.65, (-1, 1), "No score is shown to lower FID more than chance does."),
    ],
)
def test_what_is_said_of_filtering_photos(benchmark, auroc, within, gain, said):
    row = {"auroc": {"auroc": auroc, "interval": [auroc - 0.03, auroc + 0.03]}, "auroc_within_class": within, "nfe": 20.0}
    row |= {"gain": sum(gain) / 2, "gain_interval": list(gain)}
    text = benchmark("report.photos.tables").verdict({"methods": {"a": row, "ink (no model)": row}}, {})
    assert said in text and sum(start in text for start in ("point the wrong", "Not shown", "hardly any", "classes apart")) == (
        auroc != 0.7
    )


def colour_results(gain: float, within: float, pruned: list[float], noise: float = 0.55) -> dict[str, Any]:
    """gain: of guidance. within: AUROC of information within a class. pruned: interval of its gain. noise: the upper bound of its AUROC."""
    guided = row(gain, gain - 0.1, gain + 0.1)
    settings = {"plain": row(0, 0, 0) | {"fid": 4.0, "agreement": 0.5}, "CFG 2": row(3, 2, 4) | {"fid": 1.0, "agreement": 0.8}}
    settings["CFG 2 in the middle 60 % of the schedule"] = settings["CFG 2"] | {"fid": 0.5}
    settings |= {"posterior 0.02": guided, "CFG 2, posterior 0.02": guided}
    filtered = {"auroc_within_class": within, "gain": 0.4, "gain_interval": [gain, 1.0]}
    scores = {
        "information at 1": {"auroc": {"auroc": 0.7, "interval": [0.6, 0.8]}, **filtered},
        "noise at 1": {"auroc": {"auroc": 0.45, "interval": [0.4, noise]}, **filtered},
    }
    plans = {"8 to 2 at 0.25": {"agreement": 0.7, "calls": 116.0, "gain_interval": pruned}}
    plans["one candidate at random"] = {"agreement": 0.5, "calls": 20.0}
    candidates = {"20 steps, CFG 1": {"scores": scores, "plans": plans}}
    beyond = {"CFG 2, posterior 0.02": {"CFG 2": guided}}
    return {"settings": settings, "beyond": beyond, "candidates": candidates, "judge": {"accuracy_held_out": 0.88}}


def test_what_is_said_of_photos(benchmark):
    text = benchmark("report.photos.colour").advice(colour_results(-5.0, 0.65, [0.1, 0.2]))
    assert "in 80 % of the model's pictures at CFG 2, where FID is least" in text and "weak" not in text  # a window is no scale
    assert "does harm there: it raises FID (posterior 0.02 by 5.0, on CFG 2 by 5.0)" in text
    assert "information at CFG 1 (AUROC 0.70, within a class 0.65)" in text and "between classes" not in text
    assert "wrong way" not in text
    assert "show what was asked for in 70 % instead of 50 % at CFG 1 (116 calls for 20). More CFG alone does as much" in text
    assert "fewer calls: CFG 2 shows it in 80 % (100 calls, recall 0.90 to 0.60)." in text
    assert "calling good pictures the worse ones: noise at CFG 1." in benchmark("report.photos.colour").advice(
        colour_results(-5.0, 0.65, [0.1, 0.2], noise=0.49)
    )
    assert "So does scaling" not in text
    scaled = colour_results(-5.0, 0.65, [0.1, 0.2])
    scaled["settings"]["eps x 1.01"] = row(-3.2, -4, -1) | {"fid": 7.2}
    said = benchmark("report.photos.colour").for_cfg(scaled)
    assert (
        "`CFG 2 in the middle 60 % of the schedule` has the lowest" in said
        and "So does scaling the predicted noise (eps x 1.01 by 3.2)" in said
    )
    text = benchmark("report.photos.colour").advice(colour_results(0.3, 0.55, [-0.1, 0.2]))
    assert "not shown to do harm" in text and "a filter by it gains 0.40 FID" in text and "At CFG 1 more than half of that" in text
    assert "instead of" not in text and "More CFG alone" not in text
    dear = colour_results(-5.0, 0.65, [0.1, 0.2])
    dear["candidates"]["20 steps, CFG 1"]["plans"]["8 to 2 at 0.25"]["calls"] = 100.0  # as many as CFG 2 takes
    assert "More CFG alone" not in benchmark("report.photos.colour").advice(dear)


def pool_of(scale: float, scores: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """scores: AUROC, AUROC within a class, FID gained."""
    rows = {
        name: {"auroc": {"auroc": a, "interval": [a - 0.02, a + 0.02]}, "auroc_within_class": w, "gain": g, "gain_interval": [g - 1, g + 1]}
        for name, (a, w, g) in scores.items()
    }
    return {"images": 2250, "cfg": scale, "methods": rows}


def test_which_scores_are_said_to_find_bad_photos(benchmark):
    """One that finds them at one scale only does not; nor does one that tells classes apart."""
    scores = {"holds": (0.7, 0.6, 2), "once": (0.7, 0.6, 0), "classes": (0.8, 0.52, 0), "ink (no model)": (0.9, 0.9, 9)}
    guided = {"holds": (0.6, 0.6, 0), "once": (0.4, 0.4, 0), "condition gap": (0.6, 0.5, 0)}
    text = benchmark("report.photos.tables").brief(pool_of(1, scores), pool_of(2, guided))
    assert "2,250 at CFG 1 and as many at CFG 2, AUROC at each: holds (0.70, 0.60). Within" in text
    assert "wrong way: once (0.70, 0.40), classes (0.80 at CFG 1) and condition gap (0.60 at CFG 2)." in text and "ink" not in text
    assert text.endswith("At CFG 1 filters lower FID: holds by 2.00. At CFG 2 no filter is shown to lower FID.")


@pytest.mark.parametrize(
    ("few", "many", "said"),
    [
        (
            (0.95, 0.92),
            (1.2, 1.0),
            ["Pruning keeps at least 90 %", "65 % of its calls. The cheapest", "does: `8 to 1", "The surest: `8 to 4"],
        ),
        ((0.95, 0.8), (0.95, 0.7), ["but only in the mean", "does: `8 to 1 at 0.25` keeps 95 % (80 to 200 %) for 40 %."]),
        ((0.5, 0.4), (0.6, 0.4), ["No plan keeps at least 90 % of the gain of the best of 8 (+0.100), at any price."]),
    ],
)
def test_what_is_said_of_pruning(benchmark, few, many, said):
    def plan(share: float, kept: float, low: float) -> dict[str, Any]:
        return {"share_of_calls": share, "kept_gain": kept, "kept_gain_interval": [low, 2.0]}

    full = {"gain": 0.1, "gain_interval": [0.05, 0.15]}
    text = benchmark("report.best_of").verdict({"best of 8": full, "8 to 1 at 0.25": plan(0.4, *few), "8 to 4 at 0.25": plan(0.6, *many)})
    assert all(part in text for part in said) and ("The surest" in text) == (many[1] > few[1])


def test_how_often_the_promise_finds_a_limit_is_told_of_models_alone(benchmark):
    cells = [{"alpha": 0.05, "labels": 200, "kept": 1.0, "as_promised": True, "with_limit": 0.51}]
    populations = {name: {"share_bad": 0.1, "cells": cells} for name in ("simulated, easy", "bundled model, CFG 1")}
    text = benchmark("report.risk").advice({"populations": populations, "splits": 1000, "confidence": 0.95})
    assert "for 5 %, by prompt information: bundled model, CFG 1 (10.0 % bad), 51 %. With" in text and "simulated" not in text


def test_what_help_pages_say_of_scores_on_photos(benchmark):
    plain = pool_of(1, {"prompt information": (0.7, 0.6, 0), "MC dropout": (0.4, 0.5, 0), "noise": (0.6, 0.52, 0)})
    guided = pool_of(2, {"prompt information": (0.6, 0.56, 0), "MC dropout": (0.3, 0.5, 0), "noise": (0.4, 0.5, 0)})
    scores = benchmark("report.photos.help").Scores(plain, guided)
    assert "it finds bad images (AUROC 0.70 at cfg 1 and 0.60 at cfg 2, among images of one class 0.60 and 0.56" in scores.told(
        "it", "prompt information"
    )
    assert "points the wrong way" in scores.told("it", "MC dropout") and "does not tell bad" in scores.told("it", "noise")
    text = scores.table(("noise", "prompt information"))
    assert text.endswith("| prompt information | 0.70 | 0.60 | yes |\n| noise | 0.60 | 0.40 | no |")
    text = scores.compared(("prompt information", "MC dropout", "noise"))
    assert "found by prompt information (0.70 at cfg 1 and 0.60 at cfg 2). Among" in text and "MC dropout (0.40 at cfg 1 and" in text


def test_every_figure_of_the_colour_models_readme_is_a_result(benchmark, monkeypatch):
    colour = benchmark("report.photos.colour")
    monkeypatch.setattr(common, "RESULTS", common.BENCHMARKS / "results")
    text = (common.BENCHMARKS / "colour_model" / "README.md").read_text(encoding="utf-8")
    assert not [piece for piece in colour.pieces(common.read("colour")) if piece not in text]


def test_a_sentence_of_the_help_that_no_longer_holds_is_refused(benchmark):
    pages = benchmark("report.help")
    late = {"posterior 0.02": row(0.8, 0.6, 1.0), "forward 0.2, second half of the schedule": row(0.7, 0.5, 0.9)}
    with pytest.raises(ValueError, match="Late steering"):
        pages.of_steering_late(late)
    harmful = colour_results(-5.0, 0.6, [0.1, 0.2])
    harmful["settings"]["eps x 1.01"] = row(-3.0, -4.0, -2.0)
    assert "compare with images drawn without them" in pages.of_steering_photos(harmful)
    for name in ("posterior 0.02", "eps x 1.01"):
        mended = harmful | {"settings": harmful["settings"] | {name: row(0.1, -0.1, 0.3)}}
        with pytest.raises(ValueError, match="no longer makes photos worse"):
            pages.of_steering_photos(mended)


MORE, LESS, NEITHER = [0.001, 0.003], [-0.003, -0.001], [-0.002, 0.001]


def resampled(agreement, fid):
    """Rows of one setting in which resampling gains so much agreement and FID over pruning."""
    from uncertainty_nodes.benchmarks.report.best_of import ONE, PRUNED, RESAMPLED

    gains = {"agreement_gain": 0.0, "agreement_gain_interval": agreement, "fid_gain": 0.0, "fid_gain_interval": fid}
    row = {"prompts": 2000, "calls": 142, "agreement": 0.99, "agreement_interval": [0.98, 1.0], "log_p": -0.1, "fid": 1.5}
    return {PRUNED: row | {"agreement": 0.995, "beyond": {}}, RESAMPLED: row | {"beyond": {ONE: gains | {"fid_gain": -0.7}, PRUNED: gains}}}


@pytest.mark.parametrize(
    ("gain", "said"), [(LESS, "does less than"), (NEITHER, "is not shown to do more or less than"), (MORE, "does more than")]
)
def test_what_is_said_of_resampling(benchmark, gain, said):
    report = benchmark("report.best_of")
    rows = resampled(gain, NEITHER)
    assert f"{said} pruning for as many calls: agreement 0.990 against 0.995" in report.resampling(rows)
    assert f"by FID it {said} it" in report.resampling(resampled(NEITHER, gain))
    assert "Over one candidate it gains agreement +0.000 (" in report.resampling(rows) and "and FID -0.70 (" in report.resampling(rows)
    assert "| +0.000 (-0.002 to 0.001) |" in report.steered(resampled(NEITHER, gain))


def test_the_help_of_resampling_holds_while_it_shows_no_more(benchmark):
    pages = benchmark("report.help")
    rows = {"20 steps, CFG 1": resampled(NEITHER, LESS), "6 steps, CFG 1": resampled(LESS, NEITHER)}
    told = "99.00 % against 99.50 % at 20 steps, CFG 1 and 99.00 % against 99.50 % at 6 steps, CFG 1 (2,000 prompts)."
    assert pages.of_resampling(rows).endswith(told) and "less often than prune does at 6 steps, CFG 1, and nowhere" in pages.of_resampling(
        rows
    )
    assert "about as often as prune" in pages.of_resampling({"20 steps, CFG 1": resampled(NEITHER, LESS)})
    varied = pages.of_resampling(rows | {"6 steps, CFG 1": resampled(NEITHER, [0.05, 0.3])})
    assert varied.endswith("Its images are less alike: their Fréchet distance to real ones is lower by 0.00 at 6 steps, CFG 1.")
    with pytest.raises(ValueError, match="more often than pruning now"):
        pages.of_resampling(rows | {"6 steps, CFG 1": resampled(MORE, NEITHER)})


def test_the_help_tells_that_choosing_makes_alike(benchmark):
    pages = benchmark("report.help")
    plans = {"one candidate at random": {"fid": 0.8}, "best of 8": {"fid": 2.5}}
    assert "rises from 0.80 (one candidate) to 2.50 (best of 8)" in pages.of_likeness({"20 steps, CFG 1.5": {"plans": plans}})
    plans["best of 8"]["fid"] = 0.7
    with pytest.raises(ValueError, match="lowers the Fréchet distance"):
        pages.of_likeness({"20 steps, CFG 1.5": {"plans": plans}})
