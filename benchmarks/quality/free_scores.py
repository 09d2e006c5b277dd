"""What a sampling tells about its images at no further model call: python benchmarks/quality/free_scores.py"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from uncertainty_nodes.benchmarks.shared.pool import Lab
from uncertainty_nodes.benchmarks.shared.trajectories import STEPS, drawn, rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of each seed and scale")
    parser.add_argument("--priced", type=int, default=150, help="of each seed and scale, by scores that cost calls too")
    parser.add_argument("--work", type=Path, default=Path("out/free_scores"))
    a = parser.parse_args()
    lab = Lab.open(a.work, precision=torch.bfloat16)
    weak, strong = [scale for scale in STEPS if scale < 2], [scale for scale in STEPS if scale >= 2]
    for scale, chunk in tqdm([*rounds(lab, a.images, weak), *rounds(lab, a.images, strong)], desc="Draw"):
        drawn(lab, scale, chunk)


if __name__ == "__main__":
    main()
