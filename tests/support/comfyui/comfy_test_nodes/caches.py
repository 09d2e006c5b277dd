"""Patches that answer from earlier model calls, in the ways of well-known packs. Each keeps what it remembers in another place.

All reuse what they have at every second call, whatever they are asked: so one further call, or one that they see, changes the image.
"""

from __future__ import annotations

from unittest.mock import patch

from comfy.ldm.modules.attention import optimized_attention


class Turns:
    """Whose turn it is, and what there is to reuse."""

    def __init__(self):
        self.calls, self.level, self.kept = 0, -1.0, None

    def reuses(self, level, like):
        """A new run starts above the level of the last one's end."""
        if level > self.level:
            self.calls, self.kept = 0, None
        self.calls, self.level = self.calls + 1, level
        return self.calls % 2 == 0 and self.kept is not None and self.kept.shape == like.shape


class Hidden:
    turns = Turns()  # of a class: nobody looks for it there


calls, level, kept = 0, -1.0, None
shared = {"turns": Turns()}


class Cache:
    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "patch", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        model = model.clone()
        self.put_on(model)
        return (model,)


def run(apply, args):
    return apply(args["input"], args["timestep"], **args["c"])


class CacheInClosure(Cache):
    """The last output of the network, as DeepCache keeps it."""

    def put_on(self, model):
        calls, level, kept = 0, -1.0, None

        def wrapper(apply, args):
            nonlocal calls, level, kept
            if float(args["timestep"][0]) > level:
                calls = 0
            calls, level = calls + 1, float(args["timestep"][0])
            if calls % 2 == 1:
                kept = run(apply, args)
            return kept

        model.set_model_unet_function_wrapper(wrapper)


class CacheInGlobals(Cache):
    def put_on(self, model):
        def wrapper(apply, args):
            global calls, level, kept
            if float(args["timestep"][0]) > level:
                calls = 0
            calls, level = calls + 1, float(args["timestep"][0])
            if calls % 2 == 1:
                kept = run(apply, args)
            return kept

        model.set_model_unet_function_wrapper(wrapper)


class CacheInModule(Cache):
    """In an object that a dict of the module holds."""

    def put_on(self, model):
        def wrapper(apply, args):
            turns = shared["turns"]
            if not turns.reuses(float(args["timestep"][0]), args["input"]):
                turns.kept = run(apply, args)
            return turns.kept

        model.set_model_unet_function_wrapper(wrapper)


class CacheOnNetwork(Cache):
    """The residual of the whole network, kept as an attribute of it by a forward that stands in for its own, as TeaCache does."""

    def put_on(self, model):
        network = model.model.diffusion_model

        def forward(x, timesteps, *args, **kwargs):
            if not hasattr(network, "test_turns"):
                network.test_turns = Turns()
            turns = network.test_turns
            if not turns.reuses(float(timesteps[0]), x):
                turns.kept = type(network).forward(network, x, timesteps, *args, **kwargs) - x
            return x + turns.kept

        def wrapper(apply, args):
            with patch.object(network, "forward", forward):
                return run(apply, args)

        model.set_model_unet_function_wrapper(wrapper)


class CacheOfBlocks(Cache):
    """The residual of single blocks, in objects of a list in transformer_options, as FBCache and WaveSpeed do."""

    def put_on(self, model):
        turns = model.model_options["transformer_options"]["test_turns"] = [Turns(), Turns()]

        def attention(q, k, v, options):
            mine = turns[0]
            if not mine.reuses(float(options["sigmas"][0]), q):
                mine.kept = optimized_attention(q, k, v, options["n_heads"])
            return mine.kept

        def block(args, more):
            mine = turns[1]
            if not mine.reuses(float(args["transformer_options"]["sigmas"][0]), args["img"]):
                mine.kept = more["original_block"](args)["img"] - args["img"]
            return {**args, "img": args["img"] + mine.kept}

        model.set_model_patch_replace(attention, "attn1", "middle", 0)
        model.set_model_patch_replace(block, "dit", "double_block", 0)


class HiddenCache(Cache):
    """Where Python can't tell that it belongs to the patch."""

    def put_on(self, model):
        def wrapper(apply, args):
            if not Hidden.turns.reuses(float(args["timestep"][0]), args["input"]):
                Hidden.turns.kept = run(apply, args)
            return Hidden.turns.kept

        model.set_model_unet_function_wrapper(wrapper)


NODES = [CacheInClosure, CacheInGlobals, CacheInModule, CacheOnNetwork, CacheOfBlocks, HiddenCache]
