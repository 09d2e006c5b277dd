"""Whatever remembers earlier passes of a network is refused in one sentence that names it; what only moves weights about is not."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    PyramidAttentionBroadcastConfig,
    UNet2DConditionModel,
    apply_first_block_cache,
    apply_pyramid_attention_broadcast,
)
from diffusers import hooks as diffusers_hooks
from torch import nn

import tiny_pipelines as tiny
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions
from uncertainty_nodes.hosts.diffusers.attach import attach
from uncertainty_nodes.hosts.diffusers.repeatable import check_repeatable

BROADCAST = {"spatial_attention_block_skip_range": 2, "current_timestep_callback": lambda: 500}
CACHES = {
    "PyramidAttentionBroadcast": lambda: PyramidAttentionBroadcastConfig(**BROADCAST),
    "FasterCache": lambda: FasterCacheConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500, tensor_format="BCHW", is_guidance_distilled=True
    ),
    "FirstBlockCache": lambda: FirstBlockCacheConfig(threshold=0.2),
    "TaylorSeerCache": lambda: diffusers_hooks.TaylorSeerCacheConfig(),
    "MagCache": lambda: diffusers_hooks.MagCacheConfig(num_inference_steps=4, mag_ratios=torch.ones(4)),
}


@pytest.mark.parametrize("name", CACHES)
def test_every_cache_of_diffusers_is_refused(name):
    network = tiny.flux().network
    network.enable_cache(CACHES[name]())
    with pytest.raises(ValueError, match=r"FluxTransformer2DModel can't be asked again.*reuses earlier passes; call .disable_cache\(\)"):
        check_repeatable(network)
    network.disable_cache()
    check_repeatable(network)


@pytest.mark.parametrize(
    ("apply", "config", "hook"),
    [
        (apply_first_block_cache, FirstBlockCacheConfig(threshold=0.2), "FBCHeadBlockHook"),
        (apply_pyramid_attention_broadcast, PyramidAttentionBroadcastConfig(**BROADCAST), "PyramidAttentionBroadcastHook"),
    ],
)
def test_a_cache_that_was_put_on_without_a_word_to_the_network_is_found_by_its_hooks(apply, config, hook):
    network = tiny.flux().network
    apply(network, config)
    assert not network.is_cache_enabled
    with pytest.raises(ValueError, match=f"the hook {hook} reuses earlier passes; remove it"):
        check_repeatable(network)


def test_hooks_that_only_move_or_cast_weights_are_no_memory():
    network = tiny.flux().network
    diffusers_hooks.apply_layerwise_casting(network, storage_dtype=torch.float16, compute_dtype=torch.float32)
    check_repeatable(network)


@pytest.mark.parametrize(
    ("attribute", "said"),
    [("_tome_info", "token merging .tomesd."), ("_is_cached", "ParaAttention, cache-dit"), ("enable_teacache", "TeaCache")],
)
def test_what_other_packages_leave_on_the_network_is_found(attribute, said):
    pipe = tiny.sd()
    setattr(pipe.network, attribute, {"size": None, "args": {}} if attribute == "_tome_info" else True)
    with pytest.raises(ValueError, match=f"UNet2DConditionModel can't be asked again.*{said}"), attach(pipe.pipe):
        pass


def test_a_replaced_forward_is_named_by_who_replaced_it():
    """As DeepCache wraps every block."""
    pipe = tiny.sd()
    forward = pipe.network.mid_block.forward

    def wrapped_forward(*args, **kwargs):
        return forward(*args, **kwargs)

    wrapped_forward.__module__ = "DeepCache.extension.deepcache"
    pipe.network.mid_block.forward = wrapped_forward
    with pytest.raises(ValueError, match="DeepCache has replaced the forward of its UNetMidBlock2DCrossAttn"), attach(pipe.pipe):
        pass


def test_offloading_leaves_a_network_of_ones_own_as_repeatable_as_it_was():
    """Its forward is put aside by accelerate under the name of the package that it was written in."""
    accelerate = pytest.importorskip("accelerate")

    class Mine(UNet2DConditionModel):
        def forward(self, sample, timestep, encoder_hidden_states=None, return_dict=True):
            return super().forward(sample, timestep, encoder_hidden_states, return_dict=return_dict)

    Mine.forward.__module__ = "my_project"
    network = tiny.unet()
    network.__class__ = Mine
    accelerate.hooks.add_hook_to_module(network, accelerate.hooks.AlignDevicesHook("cpu"))
    assert network.forward.__module__ == "my_project"
    check_repeatable(network)


def test_train_mode_is_refused():
    network = tiny.unet(dropout=0.1)
    with pytest.raises(ValueError, match=r"UNet2DConditionModel is in train mode.*call .eval\(\) first"):
        check_repeatable(network.train())
    check_repeatable(network.eval())


def test_a_plain_network_is_asked_again():
    pipe = tiny.sd()
    assert not any("forward" in vars(m) for m in pipe.network.modules() if isinstance(m, nn.Module))
    with attach(pipe.pipe, record=AleatoricOptions(draws=DrawOptions(samples=2))) as run:
        pipe.draw(1)
    assert run.result().scores.isfinite().all()
