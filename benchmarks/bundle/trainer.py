"""Training of a class-conditional DDPM that stops and resumes: what train_demo.py and train_colour.py share."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.core.files import load_tensors, save_tensors

KIND = "training checkpoint"
DROP_CLASS = 0.1  # share of samples trained without their class, for classifier-free guidance
EMA = 0.999
SHOW_EVERY = 20  # reading the loss makes an accelerator wait


@dataclass(frozen=True)
class Plan:
    """flip: mirror half of the images. precision: bfloat16 halves the time on processors that have it. batch: images a step."""

    out: Path
    steps: int
    learning_rate: float
    seed: int = 0
    no_class: int = 10
    flip: bool = False
    precision: torch.dtype = torch.float32
    batch: int = 64
    warm_up: int = 0  # steps on which the learning rate rises
    device: str = "cpu"
    save_every: int = 100
    pictures: int = 0  # that the weights it starts from have seen
    compiled: bool = False  # by torch.compile: a minute first, then faster steps on a GPU


class Trainer:
    """Network, running mean of its weights, optimiser and step, all in one resumable state.

    config: ``network`` and ``process`` as in demo_model/config.json. weights: to start from; random ones when left out.
    """

    def __init__(self, plan: Plan, config: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None) -> None:
        self.plan = plan
        self.network = UNet2DModel(**config["network"]).to(plan.device, memory_format=torch.channels_last)
        self.predict = torch.compile(self.network) if plan.compiled else self.network
        self.noise_schedule = DDPMScheduler(**config["process"])
        if weights is not None:
            self.network.load_state_dict(weights)
        self.mean = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=plan.learning_rate)
        self.step, self.loss, self.seconds = 0, torch.zeros((), device=plan.device), 0.0
        self.checkpoint = plan.out / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self.resume()

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Drawn from the step's own seed, so that a resumed run sees what an unbroken one would have seen."""
        count, device = self.plan.batch, images.device
        g = torch.Generator(device).manual_seed(self.plan.seed * 1_000_003 + self.step)
        pick = torch.randint(len(images), (count,), generator=g, device=device)
        x0, y = images[pick], labels[pick].clone()
        y[torch.rand(count, generator=g, device=device) < DROP_CLASS] = self.plan.no_class
        # stratified over the batch: every batch sees all noise levels, so the gradient is less noisy
        t = ((torch.arange(count, device=device) + torch.rand(count, generator=g, device=device)) / count * 1000).long()
        t = t.clamp(max=999)  # the last one may be rounded up to 1000
        noise = torch.randn(x0.shape, generator=g, device=device)
        if self.plan.flip:
            mirrored = torch.rand(count, generator=g, device=device) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        return x0, y, t, noise

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, left on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / self.plan.steps))
            group["lr"] *= min(1.0, (self.step + 1) / (self.plan.warm_up + 1))
        x0, y, t, noise = self.batch(images, labels)
        torch.manual_seed(self.plan.seed + self.step)  # dropout
        x = self.noise_schedule.add_noise(x0, noise, t)
        with torch.autocast(x.device.type, self.plan.precision, enabled=self.plan.precision is not torch.float32):
            output = self.predict(x, t, class_labels=y).sample
        by_velocity = self.noise_schedule.config.prediction_type == "v_prediction"
        target = self.noise_schedule.get_velocity(x0, noise, t) if by_velocity else noise
        loss = nn.functional.mse_loss(output.float(), target)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        forget = 1 - min(EMA, (1 + self.step) / (10 + self.step))  # the first weights are soon forgotten
        weights = self.network.state_dict()
        torch._foreach_lerp_([self.mean[name] for name in weights], list(weights.values()), forget)
        self.step += 1
        return loss.detach()

    def save(self) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()} | {f"mean.{k}": v for k, v in self.mean.items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        facts = {"step": self.step, "loss": float(self.loss), "seconds": self.seconds}
        save_tensors(self.checkpoint, tensors, KIND, 1, facts)

    def resume(self) -> None:
        tensors, facts = load_tensors(self.checkpoint, KIND)
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "mean": {}, "optimiser": {}}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        self.network.load_state_dict(parts["network"])
        self.mean = {name: value.to(self.plan.device) for name, value in parts["mean"].items()}
        state = self.optimiser.state_dict()
        for name, value in parts["optimiser"].items():
            index, key = name.split(".", 1)
            state["state"].setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(state)
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.loss = torch.tensor(facts["loss"], device=self.plan.device)

    def run(self, images: Tensor, labels: Tensor) -> None:
        self.network.train()
        images, labels = images.to(self.plan.device), labels.to(self.plan.device)
        start = time.perf_counter()
        with tqdm(total=self.plan.steps, initial=self.step, unit="step") as bar:
            while self.step < self.plan.steps:
                loss = self.train_step(images, labels)
                self.loss = loss if self.step == 1 else 0.99 * self.loss + 0.01 * loss
                bar.update()
                if self.step % SHOW_EVERY == 0:
                    bar.set_postfix(loss=f"{float(self.loss):.4f}")
                if self.step % self.plan.save_every == 0 or self.step == self.plan.steps:
                    self.seconds, start = self.seconds + time.perf_counter() - start, time.perf_counter()
                    self.save()

    def write(self, path: Path, kind: str) -> None:
        """The running mean of the weights, half precision."""
        pictures = self.plan.pictures + self.step * self.plan.batch
        facts = {"steps": self.step, "pictures": pictures, "final_loss": round(float(self.loss), 4), "seconds": round(self.seconds)}
        save_tensors(path, {k: v.half() for k, v in self.mean.items()}, kind, 1, facts)
