"""WebUI host: how far LoRAs part, when each of them draws the end of an image that the model has begun.

The image itself is drawn as without this. Then, for each LoRA, the sampler runs again from the same noise: what the network has answered
before the branch is answered from memory, and from there on the network has that LoRA on it, beside those of the prompt.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

from modules import rng, sd_samplers
from modules.sd_samplers_common import InterruptedException
from modules.shared import state
from torch import Tensor

from ....core.denoiser import Process
from ....core.ensemble.comparison import Comparison
from ....core.options import EnsembleOptions
from ....core.result import Uncertainty
from ....core.schedule import PercentToSigma
from ..job import Job
from ..settings import parse_members
from .isolation import OURS, Options, kept_apart
from .search import ask

NO_LORAS = "The LoRAs of this web UI can't be put on the model by this extension, so they were not compared. Use Forge."
HIRES = "LoRAs can't be compared with hires fix; leave one of both out."


@dataclass
class Tape:
    """The network's answers to the sampler, in their order, each with its noise level; they are given again while it plays.

    edge: answers at lower levels are not given again.  lowest: level of the sampling's last step.
    passes: rows that the network was asked for while it played.
    """

    edge: float
    lowest: float = float("inf")
    answers: list[tuple[float, Tensor]] = field(default_factory=list)
    playing: bool = False
    place: int = 0
    passes: int = 0

    def shared(self) -> list[Tensor]:
        """Never those of the last level: it would leave nothing to the members."""
        return [answer for level, answer in self.answers if level > self.lowest]

    def run(self, call: Callable[[dict[str, Any]], Tensor], args: dict[str, Any]) -> Tensor:
        if OURS in args["c"].get("transformer_options", {}):
            return call(args)
        if not self.playing:
            answer, level = call(args), float(args["timestep"].max())
            self.lowest = min(self.lowest, level)
            if level > self.edge:
                self.answers.append((level, answer.detach().cpu()))
            return answer
        shared, self.place = self.shared(), self.place + 1
        if self.place <= len(shared):
            if shared[self.place - 1].shape != args["input"].shape:
                raise RuntimeError("The sampler did not ask for the same again, so LoRAs can't be compared; choose another sampler.")
            return shared[self.place - 1].to(args["input"])
        self.passes += len(args["input"])
        return call(args)


def record(unet: Any, tape: Tape) -> None:
    """Puts the tape around the network of a patcher, by a weak reference to it."""
    weak = weakref.ref(tape)

    def pre_cfg(model: Any, cond: Any, uncond: Any, x: Tensor, sigma: Tensor, options: Options) -> tuple[Any, ...]:
        alive = weak()
        if alive is not None:
            earlier = options.get("model_function_wrapper")

            def wrapper(apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
                return alive.run(partial(earlier or ask, apply_model), args)

            wrapper.__wrapped__ = getattr(earlier, "__wrapped__", earlier)  # type: ignore[attr-defined]
            options = {**options, "model_function_wrapper": wrapper}
        return model, cond, uncond, x, sigma, options

    unet.set_model_sampler_pre_cfg_function(pre_cfg)


@dataclass
class Ensemble:
    """Of one batch. drawn: what it is drawn from, as the web UI tells it."""

    tape: Tape
    drawn: dict[str, Any]


def prepare(p: Any, job: Job, resolve: PercentToSigma, drawn: dict[str, Any]) -> Ensemble:
    """Before a sampling. drawn: what it is drawn from, as the web UI tells ``process_before_every_sampling``.

    Raises ValueError, in a sentence, for names that the web UI does not know, and where it can't be done.
    """
    if getattr(p, "enable_hr", False):
        raise ValueError(HIRES)
    for name, _ in parse_members(job.settings.members):
        find_lora(name)
    kept = {name: value.clone() if isinstance(value, Tensor) else value for name, value in drawn.items()}
    edge = resolve(job.settings.branch) * (1 + 1e-5) if job.settings.branch else inf
    return Ensemble(Tape(edge), kept)


def sample_again(p: Any, drawn: dict[str, Any]) -> Tensor:
    """From the same noise and the same random numbers; nothing of the first sampling is changed."""
    sampler, before = sd_samplers.create_sampler(p.sampler_name, p.sd_model), p.rng
    numbers = {"subseeds": p.subseeds, "subseed_strength": p.subseed_strength}
    p.rng = rng.ImageRNG(
        before.shape, before.seeds, seed_resize_from_h=p.seed_resize_from_h, seed_resize_from_w=p.seed_resize_from_w, **numbers
    )
    p.rng.next()
    x, noise, conds = drawn["x"], drawn["noise"], (drawn["c"], drawn["uc"])
    try:
        if getattr(p, "init_latent", None) is None:
            return sampler.sample(p, noise.clone(), *conds, image_conditioning=p.txt2img_image_conditioning(noise))
        samples = sampler.sample_img2img(p, x.clone(), noise.clone(), *conds, image_conditioning=p.image_conditioning)
        mask = getattr(p, "mask", None)
        return samples if mask is None else samples * p.nmask + p.init_latent * mask
    finally:
        p.rng = before


def compare_members(p: Any, job: Job, process: Process) -> Uncertainty:
    """After the sampling. I, in nats, of the images that the members finish; NFE: of their runs.

    Raises ValueError for a LoRA that does not fit the model.
    """
    ensemble: Ensemble = job.ensemble
    tape, members, start = ensemble.tape, parse_members(job.settings.members), time.perf_counter()
    comparison = Comparison([tape.lowest, 0.0], process, EnsembleOptions(branch=job.settings.branch), list(range(len(members))))
    unet = p.sd_model.forge_objects.unet
    try:
        for name, strength in members:
            with member(p, name, strength) as patched, kept_apart(patched.model_options, patched.model, patched.load_device):
                tape.playing, tape.place = True, 0
                finished = sample_again(p, ensemble.drawn).float().cpu()
            if state.interrupted or state.skipped:  # the sampler has given what it had
                raise InterruptedException
            comparison.add(1, 0, finished, finished)
    finally:
        tape.answers.clear()
        if hasattr(unet, "refresh_loras"):  # Forge Neo does it when it loads the model for the next sampling
            unet.refresh_loras()
    told = {"host": "webui", "method": "ensemble", "members": job.settings.members, "branch": f"{job.settings.branch:g}"}
    nfe = tape.passes / len(job.keys)
    return comparison.results(nfe, time.perf_counter() - start, told)[0].cpu()


@contextmanager
def member(p: Any, name: str, strength: float) -> Iterator[Any]:
    """The web UI's model with one LoRA more on it, within the block."""
    objects, networks = p.sd_model.forge_objects, sys.modules["networks"]
    plain, file = objects.unet, find_lora(name)
    if hasattr(plain.model.diffusion_model, "loras"):  # Forge Neo's quantised models: their LoRAs would stay on them
        raise ValueError(NO_LORAS)
    # with the text encoder, since Forge refuses a LoRA of which much is left over; what it makes of that is not used
    patched, _ = networks.load_lora_for_models(
        plain, objects.clip, networks.load_lora_state_dict(file), strength, 0.0, filename=file, online_mode=False
    )
    if patched is plain:
        raise ValueError(f"The LoRA {name!r} has no weight that this model knows: it was made for another kind of model.")
    objects.unet = patched
    try:
        yield patched
    finally:
        objects.unet = plain


def find_lora(name: str) -> str:
    """Its file. Raises ValueError for a name that the web UI does not know."""
    networks = sys.modules.get("networks")
    if networks is None or not hasattr(networks, "load_lora_for_models"):
        raise ValueError(NO_LORAS)
    known = networks.available_network_aliases
    if name not in known:
        networks.update_available_networks_by_names([name])
    if name not in known:
        listed = ", ".join(sorted(networks.available_networks)[:10]) or "none"
        raise ValueError(f"There is no LoRA {name!r} here; the first that this web UI knows are: {listed}.")
    return known[name].filename
