"""How scores were made: what must be the same for two of them to be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOST, PROMPT_KIND, LEVELS, SCORING_SEED = "host", "prompt kind", "log_snr", "scoring seed"
SAME_LEVEL = 0.05  # nats
OWN_CALIBRATION = "use a calibration of their own, under another name."
WAY_OUT = {SCORING_SEED: "other draws move all scores of a run, so keep the seed of what scores fixed, or use a calibration of their own."}
OF_HOST = (HOST, "model", "weights", "sampler")  # each host has names of its own for them
OF_SCORE = ("method", "window", "samples", LEVELS, SCORING_SEED)
SETTINGS = (HOST, "model", "weights", PROMPT_KIND, "sampler", "steps", "cfg", "guidance", *OF_SCORE)


def common_settings(provenance: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of the settings that scores depend on, those that all runs that tell them agree in.

    Estimators call the seed of draws ``seed``; beside guidance it is that of the sampling, another one for each run.
    """
    runs = [{SCORING_SEED: run["seed"], **run} if "seed" in run and "guidance" not in run else run for run in provenance]
    told = {name: {run[name] for run in runs if name in run} for name in SETTINGS}
    return {name: values.pop() for name, values in told.items() if len(values) == 1}


def alike_everywhere(settings: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Of ``settings`` what ``other`` can be compared with: all, or, where those are of another host, what every host calls alike."""
    if settings.get(HOST, other.get(HOST)) == other.get(HOST, settings.get(HOST)):
        return dict(settings)
    return {name: value for name, value in settings.items() if name not in OF_HOST}


def agree(name: str, value: str, other: str) -> bool:
    """Whether they are the same; noise levels as far as a schedule in steps, which hosts read each in their own way, can tell."""
    if name != LEVELS or value == other:
        return value == other
    try:
        levels, others = ([float(level) for level in text.split(",")] for text in (value, other))
    except ValueError:
        return False
    return len(levels) == len(others) and all(abs(a - b) <= SAME_LEVEL for a, b in zip(levels, others, strict=True))


def check_settings(known: Mapping[str, str], other: Mapping[str, str]) -> None:
    """Raises ValueError where scores of a calibration, made as ``known`` says, are to be compared with ``other`` ones.

    Only what both tell is looked at.
    """
    for name, value in known.items():
        if not agree(name, value, other.get(name, value)):
            raise ValueError(
                f"This calibration holds scores made with {name} {value!r}, but scores made with {name} {other[name]!r} are to be compared "
                f"with it; {WAY_OUT.get(name, OWN_CALIBRATION)}"
            )
