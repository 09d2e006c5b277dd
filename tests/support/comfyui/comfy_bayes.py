"""The Bayesian nodes in the scenes of comfy_scenes and on the demo model, with every input at its default unless told otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from comfy_graph import Graph, Node
from comfy_scenes import FAMILIES, Scene
from comfy_uncertainty import SAMPLING
from uncertainty_nodes.core.demo.network import DemoNetwork, read_config, read_weights
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.last_layer.fit import Training

FIT = {"draws": 1, "prior_precision": 1.0, "seed": 5, "covariance": "diagonal", "layer": "", "batch_size": 4}
FIT |= {"noise_variance": 1.0}
GENERATIVE = {"members": 2, "member_steps": 0}
BAYESDIFF = {"skip": 1, "draws": 3, "cfg": 1.0}
DROPOUT = {"samples": 3, "start_percent": 0.6, "end_percent": 0.75, "levels": 2, "seed": 7}


def demo_training(*labels: int) -> tuple[Any, ...]:
    """The demo model without any host, in ComfyUI's coordinates, and what it is asked for each label."""
    config = read_config()
    network = DemoNetwork(config["network"])
    network.load_state_dict(read_weights())
    network.eval().requires_grad_(False)
    process = config["process"]
    alphas = torch.cumprod(1 - torch.linspace(process["beta_start"], process["beta_end"], 1000, dtype=torch.float64), 0)
    sigmas = ((1 - alphas) / alphas).sqrt().float()

    def predict(label: int, x: Tensor, sigma: Tensor) -> Tensor:
        t = (sigma.log()[:, None] - sigmas.log()[None]).abs().argmin(dim=1)
        context = network.class_context(torch.full((len(x),), label))
        return network(x / (1 + sigma**2).sqrt().view(-1, 1, 1, 1), t, context)

    return network, *(Training(lambda x, s, _, n=n: predict(n, x, s), Process.VE, Prediction.EPS, sigmas) for n in labels)


def demo_scene(batch: int = 2, digit: int = 3, salt: int = 0) -> tuple[Scene, Node]:
    """The demo model, and the node that has its decoder (3) and its examples (5). salt: another one samples anew."""
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=digit, batch_size=batch)
    empty = {"seed": 0, "batch": batch, "channels": 1, "frames": 0, "height": 32, "width": 32, "scale": 0.0, "salt": salt}
    return Scene(g, demo[0], demo[1], demo[2], g.node("UQTest_RandomLatent", **empty)), demo


def examples(s: Scene, channels: int, batch: int = 6, size: int = 8, seed: int = 11) -> Node:
    """Stand-ins for training samples."""
    shape = {"batch": batch, "channels": channels, "frames": 0, "height": size, "width": size}
    return s.graph.node("UQTest_RandomLatent", seed=seed, scale=1.0, salt=0, **shape)


def fit(s: Scene, latents: Any, **options: Any) -> Node:
    return s.graph.node("UQ_FitLaplace", model=s.model, latents=latents, positive=s.positive, **FIT | options)


def load(s: Scene, name: str, **options: Any) -> Node:
    return s.graph.node("UQ_LoadLaplace", name=name, **{"prior_precision": 0.0, "noise_variance": 0.0} | options)


def wires(s: Scene) -> dict[str, Any]:
    return {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}


def generative(s: Scene, laplace: Any, vae: Any, **options: Any) -> Node:
    return s.graph.node("UQ_GenerativeUncertainty", **wires(s), laplace=laplace, vae=vae, **SAMPLING | GENERATIVE | options)


def bayesdiff(s: Scene, laplace: Any, **options: Any) -> Node:
    return s.graph.node("UQ_BayesDiff", **wires(s), laplace=laplace, **SAMPLING | BAYESDIFF | options)


def dropout(s: Scene, latent: Any, **options: Any) -> Node:
    return s.graph.node("UQ_DropoutUncertainty", model=s.model, positive=s.positive, latent=latent, **DROPOUT | options)


def fitted(s: Scene, family: str = "flow", model: Node | None = None, **options: Any) -> Node:
    """A fit to random samples on the family's plain model, whatever the scene's own has been wrapped in."""
    plain = s.having(model=model or FAMILIES[family].load(s.graph))
    shape = {"batch": 3, "channels": FAMILIES[family].channels, "frames": FAMILIES[family].frames, "height": 8, "width": 8}
    latents = s.graph.node("UQTest_RandomLatent", seed=11, scale=1.0, salt=0, **shape)
    return fit(plain, latents, **options)


def decoder(s: Scene, raw: bool = False) -> Node:
    return s.graph.node("UQTest_Decoder", raw=raw)


def clip(s: Scene, broken: bool = False) -> Node:
    return s.graph.node("UQTest_TinyClipVision", broken=broken)
