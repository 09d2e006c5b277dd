"""Sample Filter's borderline images, decided by a person, put aside, or left to the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ....core.options import Borderline, Unanswered
from ....core.result import Uncertainty
from ....core.selection.filtering import Decision
from ....core.selection.unsure import settle
from ..view.page import workflow_id
from .pictures import heatmaps, middle_frames, picture_of
from .question import Ending, Question
from .wait import wait_for_answer

BY_POLICY = (Ending.ANSWERED, Ending.TIMED_OUT, Ending.CLOSED)  # what is still undecided then is decided as the node says


@dataclass(frozen=True)
class ReviewOptions:
    """seconds: to wait for a person; 0 = as set in the page.   unanswered: what becomes of images that nobody decided in time."""

    borderline: Borderline
    seconds: float
    unanswered: Unanswered


@dataclass(frozen=True)
class Reviewed:
    """accepted, rejected: what a person decided.   ending: how it went, None where nobody was to be asked.   near: borderline images."""

    decision: Decision
    accepted: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()
    ending: Ending | None = None
    near: int = 0

    @property
    def sentence(self) -> str:
        """How it went; empty where nobody was to be asked."""
        if self.ending is None:
            return ""
        count = "1 borderline image" if self.near == 1 else f"{self.near} borderline images"
        return f"Review of {count}: {self.ending.value}." if self.near else f"Review: {self.ending.value}."


async def settle_borderline(
    decision: Decision,
    near: Sequence[int],
    options: ReviewOptions,
    summary: dict[str, Any],
    results: Sequence[Uncertainty],
    batches: Sequence[Tensor] | None,
) -> Reviewed:
    """near: indexes of the borderline images.   summary: what the page shows beside the images.   batches: the images, if there are any.

    Without borderline images, with them by rule, or where nobody can be asked, the decision is the rule's own.
    """
    if options.borderline is Borderline.SET_ASIDE:
        return Reviewed(settle(decision, set_aside=near, why="near the line"))
    if options.borderline is Borderline.BY_RULE:
        return Reviewed(decision)
    server = PromptServer.instance
    if not near:
        return Reviewed(decision, ending=Ending.NONE_NEAR)
    if not batches:
        return Reviewed(decision, ending=Ending.NO_IMAGES, near=len(near))
    if server.client_id is None:
        return Reviewed(decision, ending=Ending.NO_PAGE, near=len(near))
    question = ask(server.client_id, near, decision, options, summary, results, batches)
    ending = await wait_for_answer(server, question)
    reviewed = settle(decision, question.accepted, question.rejected, why="in a review")
    rest = [i for i in near if i not in (*question.accepted, *question.rejected)]
    if ending in BY_POLICY and rest:
        reviewed = apply_policy(reviewed, rest, options.unanswered)
    return Reviewed(reviewed, question.accepted, question.rejected, ending, len(near))


def apply_policy(decision: Decision, images: Sequence[int], policy: Unanswered) -> Decision:
    sides = {Unanswered.ACCEPT: "accept", Unanswered.REJECT: "reject", Unanswered.SET_ASIDE: "set_aside"}
    return settle(decision, **{sides[policy]: images}, why="without a review") if policy in sides else decision


def ask(
    client: str,
    near: Sequence[int],
    decision: Decision,
    options: ReviewOptions,
    summary: dict[str, Any],
    results: Sequence[Uncertainty],
    batches: Sequence[Tensor],
) -> Question:
    pictures = middle_frames(batches, len(decision.order))
    heats = heatmaps(results, pictures, near)
    images = [
        {
            "index": i,
            "score": summary["scores"][i],
            "rank": summary["ranks"][i],
            "accepted": i in decision.accepted,
            "picture": picture_of(pictures[i]),
            "heatmap": picture_of(heats[i]) if i in heats else None,
        }
        for i in decision.order
        if i in near
    ]
    shared = {name: summary[name] for name in ("quantity", "direction", "scores", "line")}
    place = {"node": display_id(), "workflow": workflow_id()}
    told = {"accepted": list(decision.accepted), "seconds": options.seconds, "unanswered": options.unanswered.value, "images": images}
    return Question(client, tuple(near), {**shared, **place, **told}, options.seconds or None)


def display_id() -> str:
    """The node that people see, which a loop or another expansion may have made this one of."""
    context = get_executing_context()
    return get_progress_state().dynprompt.get_display_node_id(context.node_id) if context else ""
