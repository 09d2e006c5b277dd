"""What needs no web UI: what the accordion says where the hooks are missing, and what is read from values, mappings and texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from uncertainty_nodes.core.options import GuidanceMode, PipelineScore, SamplingPasses
from uncertainty_nodes.hosts.webui.page.infotext import describe, pasted, read
from uncertainty_nodes.hosts.webui.page.layout import FOLDED, SHOWN
from uncertainty_nodes.hosts.webui.page.texts import HELP, LABELS, TITLE, price, tell_price
from uncertainty_nodes.hosts.webui.settings import Settings, names
from uncertainty_nodes.hosts.webui.support import NO_PATCHER, NOTHING, TOO_OLD, why_not

ROOT = Path(__file__).resolve().parents[3]


def test_a_web_ui_without_the_hooks_is_told_in_a_sentence() -> None:
    assert why_not().startswith("This web UI tells nothing of the steps of its samplers")


def test_a_web_ui_before_each_image_had_a_text_of_its_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"modules.sd_samplers_cfg_denoiser", "modules.script_callbacks"}
    monkeypatch.setattr("uncertainty_nodes.hosts.webui.support.find_spec", lambda name: name if name in present else None)
    assert why_not() == TOO_OLD
    present.add("modules.sd_schedulers")
    assert why_not() == ""


def test_every_setting_has_a_label_and_a_place_that_stays() -> None:
    assert set(names()) - {"enabled"} == set(LABELS)
    assert names()[:4] == ["enabled", "score", "samples", "start_percent"]  # the API's positions: append only


def test_values_of_components_and_a_dictionary_mean_the_same() -> None:
    settings = Settings.from_values([{"score": "noise", "strength": 0.1, "mode": "forward", "passes": "second"}])
    assert settings.score is PipelineScore.NOISE and settings.mode is GuidanceMode.FORWARD and settings.passes is SamplingPasses.SECOND
    again = Settings.from_values([settings.effective[name] for name in names()])
    assert again.effective == settings.effective
    assert not Settings.from_values([]).enabled


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"score": "denoised"},
        {"score": "ensemble", "members": "one, two:0.8", "branch": 0.5},
        {"best": 2, "prune_to": 0.5},
        {"strength": 0.1, "rule": "threshold", "value": -0.5, "wanted": 2, "seed": 7},
    ],
)
def test_a_text_holds_every_setting(values: dict) -> None:
    settings = Settings.from_mapping({"enabled": True, **values})
    assert read(describe(settings)) == settings.effective
    assert pasted("value")({"Uncertainty settings": describe(settings)}) == settings.value


def test_an_infotext_of_another_version_or_none_turns_the_script_off() -> None:
    assert pasted("enabled")({}) is False
    assert pasted("enabled")({"Uncertainty settings": "score=beauty"}) is False
    assert pasted("samples")({"Uncertainty settings": "score=beauty"}) is None


def test_what_was_pasted_is_no_html_in_the_page() -> None:
    told = tell_price({"score": "ensemble", "members": "<img src=x onerror=alert(1)>"})
    assert "&lt;img" in told and "<img" not in told
    assert tell_price({}) == f"<p>{price(Settings())}</p>"


def test_the_price_names_what_each_part_costs() -> None:
    assert "32 further model calls per image, after the sampling" in price(Settings())
    text = price(Settings.from_mapping({"score": "denoised", "samples": 3, "strength": 0.1, "mode": "forward"}))
    assert "3 further model calls per image at each step between 60% and 75%" in text
    assert "Guidance costs 4 further model calls" in text


def test_every_text_of_the_accordion_is_there_in_chinese() -> None:
    texts = [TITLE, HELP, NOTHING, TOO_OLD, NO_PATCHER, *FOLDED, *(text for pair in LABELS.values() for text in pair)]
    chinese = json.loads((ROOT / "localizations" / "zh_CN.json").read_text(encoding="utf-8"))
    assert list(chinese) == list(dict.fromkeys(texts))
    for english, translated in chinese.items():
        assert translated != english
        for name in re.findall(r"[a-z]+_[a-z_]+|\d+(?:\.\d+)?", english):  # what one types, and values, are the same in every language
            assert name in translated


def test_every_setting_stands_once_in_the_accordion() -> None:
    placed = [name for part in (SHOWN, *FOLDED.values()) for row in part for name in row]
    assert sorted(placed) == sorted(set(names()) - {"enabled"})
