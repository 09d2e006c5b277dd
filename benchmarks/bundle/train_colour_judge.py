"""Train the colour model's judge: python benchmarks/bundle/train_colour_judge.py FOLDER --out out/colour/judge.safetensors

FOLDER as in train_colour.py. A small classifier of the same 40,000 photos that the model is trained on; the 10,000 left out there are left
out here, and give its accuracy and the reference statistics. About 5 minutes of one core with avx512_bf16.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.benchmarks.bundle.train_colour import read_pictures
from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.shared.other_models.colour import ARCHITECTURE, JUDGE_KIND, ColourJudge
from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.metrics.features import FeatureStatistics

BATCH, RATE, KEPT_FEATURES = 128, 6e-3, 2_000


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored by half, and moved by up to 3 pixels."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    images = torch.where(mirrored.to(images.device), images.flip(-1), images)
    padded = nn.functional.pad(images, (3, 3, 3, 3), mode="reflect")
    down, right = torch.randint(7, (2,), generator=generator).tolist()
    return padded[:, :, down : down + images.shape[2], right : right + images.shape[3]]


def train(images: Tensor, labels: Tensor, epochs: int, seed: int) -> ColourJudge:
    """AdamW with a one-cycle learning rate, in bfloat16."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    judge = ColourJudge().train().to(images.device, memory_format=torch.channels_last)
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps)
    bar = tqdm(total=steps, unit="step")
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator)[: steps // epochs * BATCH].split(BATCH):
            with torch.autocast(images.device.type, torch.bfloat16):
                logits = judge.body(augment(images[rows], generator).to(memory_format=torch.channels_last))
                logits = judge.head(logits)
            loss = nn.functional.cross_entropy(logits.float(), labels[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.update()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    bar.close()
    return judge.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="one folder of pictures a class")
    parser.add_argument("--out", type=Path, default=Path("out/colour/judge.safetensors"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    images, labels = (part.to(a.device) for part in read_pictures(a.folder))
    seen, unseen = (torch.from_numpy(part) for part in split(len(images), 0))
    start = time.perf_counter()
    judge = train(images[seen], labels[seen], a.epochs, a.seed)
    seconds = time.perf_counter() - start
    judge.load_state_dict({k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()})  # as it is stored
    with torch.inference_mode():
        features = torch.cat([judge.features(part) for part in images[unseen].split(500)])
        right = (judge.head(features).argmax(dim=1) == labels[unseen]).double().mean()
    features = features.cpu()
    statistics = FeatureStatistics.of(features, ARCHITECTURE)
    tensors = {f"judge.{k}": v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    tensors |= {"mean": statistics.mean, "covariance": statistics.covariance, "features": features[:KEPT_FEATURES].half()}
    about = {"architecture": ARCHITECTURE, "accuracy_held_out": round(float(right), 4), "held_out": len(unseen), "epochs": a.epochs}
    save_tensors(a.out, tensors, JUDGE_KIND, 1, about | {"seconds": round(seconds), "seed": a.seed, "torch": torch.__version__})
    print(f"{about}, {seconds:.0f} s. Wrote {a.out}")


if __name__ == "__main__":
    main()
