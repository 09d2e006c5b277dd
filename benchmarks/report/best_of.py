"""The report's section on best of N and until good, from results/best_of.json."""

from __future__ import annotations

from typing import Any

from uncertainty_nodes.benchmarks.report.markdown import interval, number, paragraph, picture, table

Results = dict[str, Any]
FULL = "best of 8"
ONE, PRUNED, RESAMPLED = "one candidate", "pruned, 8 to 4 at 0.25, to 2 at 0.5", "resampled, 8 to 4 at 0.25, to 2 at 0.5"
STEERED = """
    **Resampling.** Copies have a future of their own, so these searches were run one by one, on EulerAncestralDiscreteScheduler, the same
    candidates for every plan of a setting. *Beyond one*, *beyond pruning*: what the plan gains over one candidate and over the pruned
    plan, prompts resampled; above 0 it is better.
"""
GAIN, CALLS = 0.9, 0.65  # what pruning is to keep, at most at which share of the calls


def section(found: Results) -> str:
    about = paragraph(f"""
        {found["candidates"]} candidates of each of {found["prompts"]} prompts, DDIM, the network in {found["precision"]},
        {found["draws"]} draws a comparison, by prompt information unless named. Each row keeps one image a prompt. *Gain*: agreement
        over a candidate taken at random; *kept*: its share of the gain of the best of 8, and *calls*, sampling and comparing, as a
        share of those. *8 to 2 at 0.25*: two of eight go on after a quarter of the schedule, and the better of the two finished is
        kept. FID is of as many images in every row, few of them: compare within a table only.
    """)
    parts = [about]
    for name, rows in found["settings"].items():
        parts += [f"**{name}.** {verdict(rows['plans'])}", plans(rows["plans"])]
    until = paragraph("""
        Until good: each image is judged by the calibrated rule, with the prompt information of the finished images of other prompts;
        *limit*: the percentile, best first, up to which it is accepted. At most 8 attempts. *Plain*: the agreement of images that
        nobody judged, whatever their number of calls.
    """)
    if found["steered"]:
        parts += [paragraph(STEERED)]
        for name, rows in found["steered"].items():
            parts += [f"**{name}.** {resampling(rows)}", steered(rows)]
    return "\n\n".join([*parts, until, until_good(found["settings"])])


def free(found: Results) -> str:
    """Every scorer as the one who prunes, from results/best_of_free.json."""
    about = paragraph(f"""
        The same with every scorer, those that cost no call among them, on {found["prompts"]} prompts of {found["candidates"]}
        candidates, 20 steps. *Trajectory* and *condition gap* are of the steps so far, as the search takes them; two names: joined by
        rank. Drawing fewer candidates is what pruning at random comes to: `best of 2` and `best of 4` are its control.
    """)
    parts = [about, picture("Agreement gained over one candidate against network calls, by scorer", "results/choosing.png")]
    for name, rows in found["settings"].items():
        parts += [f"**{name}.** {free_verdict(rows['plans'])}", plans(rows["plans"])]
    return "\n\n".join(parts)


def free_verdict(rows: Results) -> str:
    """Whether a free scorer chooses as well as prompt information: by the best of 8, each by its own."""
    full, lines, most = rows[FULL], [], 0.0
    if full["gain_interval"][0] <= 0:
        return "The best of 8 by prompt information is not shown to gain anything here."
    for name in ("trajectory", "condition gap", "trajectory and gap"):
        if (row := rows.get(f"{FULL}, {name}")) is not None:
            lines.append(f"{name} {number(row['gain'], 3, signed=True)} ({interval(row['gain_interval'], 3)}; {row['calls']:g} calls)")
            most = max(most, row["gain"])
    asked = {name: rows[name] for name in ("best of 2", "best of 4", FULL) if rows[name]["gain"] >= most}
    name, row = min(asked.items(), key=lambda item: item[1]["calls"], default=(FULL, full))
    start = f"The best of 8 gains {number(full['gain'], 3, signed=True)} ({interval(full['gain_interval'], 3)}; {full['calls']:g} calls)"
    fewer = (
        f"`{name}` by prompt information gains as much for {row['calls']:g} calls"
        if row["gain"] >= most
        else "Prompt information never gains as much"
    )
    return f"{start} by prompt information; by scores that cost nothing: {', '.join(lines)}. {fewer}."


def free_brief(found: Results) -> str:
    """For the README, with no intervals."""
    lines = []
    for name, setting in found["settings"].items():
        rows = setting["plans"]
        free = {n: rows[f"{FULL}, {n}"] for n in ("trajectory", "condition gap", "trajectory and gap") if f"{FULL}, {n}" in rows}
        best, top = max(free.items(), key=lambda item: item[1]["gain"])
        full = f"by prompt information {number(rows[FULL]['gain'], 3, signed=True)} ({rows[FULL]['calls']:g} calls)"
        lines.append(
            f"at {name.removeprefix('20 steps, ')} by {best} {number(top['gain'], 3, signed=True)} ({top['calls']:g} calls), {full}"
        )
    return f"The best of 8 gains in agreement {'; '.join(lines)}; {found['prompts']} prompts."


def verdict(rows: Results) -> str:
    """Whether pruning reaches its target, and by which plan at the fewest calls."""
    full = rows[FULL]
    if full["gain_interval"][0] <= 0:
        return "The best of 8 is not shown to gain anything here, so there is nothing that pruning could keep."
    pruned = {name: row for name, row in rows.items() if name.startswith("8 to") and row["kept_gain"] is not None}
    gain = f"at least {100 * GAIN:.0f} % of the gain of the best of 8 ({number(full['gain'], 3, signed=True)})"
    aim = f"{gain} for at most {100 * CALLS:.0f} % of its calls"
    enough = {name: row for name, row in pruned.items() if row["kept_gain"] >= GAIN}
    reached = {name: row for name, row in enough.items() if row["share_of_calls"] <= CALLS}
    if not enough:
        return f"No plan keeps {gain}, at any price."
    if not reached:
        name, row = min(enough.items(), key=lambda item: item[1]["share_of_calls"])
        return f"No plan keeps {aim}; the cheapest that keeps so much is `{name}`, for {100 * row['share_of_calls']:.0f} %."
    name, row = min(reached.items(), key=lambda item: item[1]["share_of_calls"])
    sure = max(reached, key=lambda n: reached[n]["kept_gain_interval"][0])
    doubt = "" if reached[sure]["kept_gain_interval"][0] >= GAIN else ", but only in the mean, not by the interval"
    text = f"Pruning keeps {aim}{doubt}. The cheapest plan that does: {kept_by(name, row)}."
    return text if sure == name else f"{text} The surest: {kept_by(sure, reached[sure])}."


def kept_by(name: str, row: Results) -> str:
    low, high = (100 * bound for bound in row["kept_gain_interval"])
    return f"`{name}` keeps {100 * row['kept_gain']:.0f} % ({low:.0f} to {high:.0f} %) for {100 * row['share_of_calls']:.0f} %"


def plans(rows: Results) -> str:
    cells = [
        [name, f"{r['calls']:g}", number(r["agreement"], 3)]
        + [number(r["gain"], 3, signed=True), interval(r["gain_interval"], 3), by_third(r)]
        + [number(r.get("kept_gain"), 2), interval(r.get("kept_gain_interval")), number(r.get("share_of_calls"), 2)]
        + [number(r["log_p"], 3), number(r["fid"], 2)]
        for name, r in rows.items()
    ]
    header = ["plan", "calls", "agreement", "gain", "95 %", "by third of the prompts"]
    return table([*header, "kept", "95 %", "share of calls", "mean log p", "FID"], cells)


def by_third(row: Results) -> str:
    return ", ".join(number(gain, 3, signed=True) for gain in row.get("gain_by_third") or ()) or "-"


def until_good(settings: Results) -> str:
    cells = [
        [name, f"{limit} %", number(r["acceptance_rate"], 3), number(r["attempts"], 2), number(r["accepted"], 3), number(r["calls"], 1)]
        + [number(r["agreement"], 3), interval(r["agreement_interval"], 3), number(r["agreement_plain"], 3)]
        for name, rows in settings.items()
        for limit, r in rows["until good"].items()
    ]
    header = ["setting", "limit", "accepted", "attempts a run", "runs that end well", "calls a run", "agreement", "95 %", "plain"]
    return table(header, cells)


def equal_calls(found: Results) -> str:
    """Until good beside plain sampling, from results/until_good.json."""
    about = paragraph(f"""
        Until good, as above, beside one plain image that nobody judged, for as many calls: they are spent on further steps.
        {found["images"]} plain images a row.
    """)
    cells = [
        [
            name,
            f"{limit} %",
            number(r["attempts"], 2),
            number(r["calls"], 1),
            number(r["agreement"], 3),
            interval(r["agreement_interval"], 3),
        ]
        + [str(r["plain_steps"]), number(r["plain_agreement"], 3), interval(r["plain_interval"], 3)]
        for name, rows in found["settings"].items()
        for limit, r in rows.items()
    ]
    header = ["setting", "limit", "attempts a run", "calls a run", "agreement", "95 %", "plain steps", "plain agreement", "95 %"]
    return about + "\n\n" + table(header, cells)


def steered(rows: Results) -> str:
    cells = [
        [name, r["prompts"], f"{r['calls']:g}", number(r["agreement"], 3), interval(r["agreement_interval"], 3), number(r["log_p"], 3)]
        + [number(r["fid"], 2), beyond(r, ONE, "fid", 2), beyond(r, PRUNED, "agreement", 3), beyond(r, PRUNED, "fid", 2)]
        for name, r in rows.items()
    ]
    header = ["plan", "prompts", "calls", "agreement", "95 %", "mean log p", "FID"]
    return table([*header, "FID beyond one", "agreement beyond pruning", "FID beyond pruning"], cells)


def beyond(row: Results, other: str, what: str, digits: int) -> str:
    return gained(row["beyond"][other], what, digits) if other in row["beyond"] else "-"


def gained(gains: Results, what: str, digits: int) -> str:
    return f"{number(gains[f'{what}_gain'], digits, signed=True)} ({interval(gains[f'{what}_gain_interval'], digits)})"


def resampling(rows: Results) -> str:
    """Whether copies of the best do more than leaving the worst, for as many calls, by agreement and by FID."""
    copied = rows[RESAMPLED]
    gains, alone = copied["beyond"][PRUNED], copied["beyond"][ONE]
    return (
        f"`{RESAMPLED}` {verb(gains['agreement_gain_interval'])} pruning for as many calls: agreement {number(copied['agreement'], 3)} "
        f"against {number(rows[PRUNED]['agreement'], 3)}, {gained(gains, 'agreement', 3)}; by FID it "
        f"{verb(gains['fid_gain_interval'])} it: {gained(gains, 'fid', 2)}. Over one candidate it gains agreement "
        f"{gained(alone, 'agreement', 3)} and FID {gained(alone, 'fid', 2)}."
    )


def verb(pair: list[float]) -> str:
    return "does more than" if pair[0] > 0 else "does less than" if pair[1] < 0 else "is not shown to do more or less than"
