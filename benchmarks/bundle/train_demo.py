"""Train the bundled demo model further, or from nothing: python benchmarks/bundle/train_demo.py mnist_train.npz --out out/train

A class-conditional DDPM on digits, of the architecture in demo_model/config.json. Stops and resumes: a checkpoint every
100 steps, written whole. The 10,000 digits that train_extractor.py holds out are left out here too. When the last step
is done it writes model.safetensors (the running mean of the weights, half precision).
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from bundle.train_extractor import split
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.core.demo.extractor import digits_to_images
from uncertainty_nodes.core.demo.network import read_config, read_weights
from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS

KIND = "training checkpoint"
BATCH = 64
DROP_CLASS = 0.1  # share of samples trained without their class, for classifier-free guidance
EMA = 0.999
SAVE_EVERY = 100


class Trainer:
    """Network, running mean of its weights, optimiser and step, all in one resumable state."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        config = read_config()
        self.network = UNet2DModel(**config["network"]).to(memory_format=torch.channels_last)
        self.noise_schedule = DDPMScheduler(**config["process"])
        if not a.from_nothing:
            self.network.load_state_dict(read_weights())
        self.mean = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=a.learning_rate)
        self.step, self.loss, self.seconds = 0, 0.0, 0.0
        self.checkpoint = a.out / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self.resume()

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Drawn from the step's own seed, so that a resumed run sees what an unbroken one would have seen."""
        g = torch.Generator().manual_seed(self.a.seed * 1_000_003 + self.step)
        pick = torch.randint(len(images), (BATCH,), generator=g)
        x0, y = images[pick], labels[pick].clone()
        y[torch.rand(BATCH, generator=g) < DROP_CLASS] = NO_CLASS
        # stratified over the batch: every batch sees all noise levels, so the gradient is less noisy
        t = ((torch.arange(BATCH) + torch.rand(BATCH, generator=g)) / BATCH * 1000).long()
        return x0, y, t, torch.randn(x0.shape, generator=g)

    def train_step(self, images: Tensor, labels: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.a.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / self.a.steps))
        x0, y, t, noise = self.batch(images, labels)
        torch.manual_seed(self.a.seed + self.step)  # dropout
        x = self.noise_schedule.add_noise(x0, noise, t)
        loss = nn.functional.mse_loss(self.network(x, t, class_labels=y).sample, noise)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        for name, value in self.network.state_dict().items():
            self.mean[name].lerp_(value, 1 - EMA)
        self.step += 1
        return float(loss)

    def save(self) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()} | {f"mean.{k}": v for k, v in self.mean.items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        facts = {"step": self.step, "loss": self.loss, "seconds": self.seconds}
        save_tensors(self.checkpoint, tensors, KIND, 1, facts)

    def resume(self) -> None:
        tensors, facts = load_tensors(self.checkpoint, KIND)
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "mean": {}, "optimiser": {}}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        self.network.load_state_dict(parts["network"])
        self.mean = parts["mean"]
        state = self.optimiser.state_dict()
        for name, value in parts["optimiser"].items():
            index, key = name.split(".", 1)
            state["state"].setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(state)
        self.step, self.loss, self.seconds = facts["step"], facts["loss"], facts["seconds"]

    def run(self, images: Tensor, labels: Tensor) -> None:
        self.network.train()
        start = time.perf_counter()
        with tqdm(total=self.a.steps, initial=self.step, unit="step") as bar:
            while self.step < self.a.steps:
                loss = self.train_step(images, labels)
                self.loss = loss if self.step == 1 else 0.99 * self.loss + 0.01 * loss
                bar.update()
                bar.set_postfix(loss=f"{self.loss:.4f}")
                if self.step % SAVE_EVERY == 0 or self.step == self.a.steps:
                    self.seconds, start = self.seconds + time.perf_counter() - start, time.perf_counter()
                    self.save()
        facts = {"steps": self.step, "final_loss": round(self.loss, 4), "seconds": round(self.seconds)}
        save_tensors(self.a.out / "model.safetensors", {k: v.half() for k, v in self.mean.items()}, "demo model", 1, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="mnist_train.npz, with x (N, 28, 28) uint8 and y (N,)")
    parser.add_argument("--out", type=Path, default=Path("out/train"))
    parser.add_argument("--from-nothing", action="store_true", help="start from random weights instead of the bundled ones")
    parser.add_argument("--steps", type=int, default=14_000)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    with np.load(a.data) as data:
        digits, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    training, _ = split(len(digits), 0)
    Trainer(a).run(digits_to_images(digits[training]), labels[training])


if __name__ == "__main__":
    main()
