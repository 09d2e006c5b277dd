"""Model patches that fail, run out of memory, wait or count. All counts start anew with each sampling run."""

from __future__ import annotations

import time

import comfy.model_management as mm
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context
from server import PromptServer

from .observe import Any


class Calls:
    """The network calls of one sampling run: how many, and of how many rows each."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.all_rows: list[int] = []  # of every run of this patch, for nodes that sample several times
        self.failures = 0


def watch(model, before):
    """A clone whose network calls ``before(calls, x)`` first; returns it with its Calls."""
    calls = Calls()

    def start(executor, *args, **kwargs):
        calls.rows, calls.failures = [], 0
        # on the network itself: a wrapper would be one of the patches that our nodes put back as they were
        hook = executor.class_obj.model_patcher.model.diffusion_model.register_forward_pre_hook(call)
        try:
            return executor(*args, **kwargs)
        finally:
            hook.remove()

    def call(network, args):
        x = args[0]
        calls.rows.append(x.shape[0])
        calls.all_rows.append(x.shape[0])
        before(calls, x)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, f"uq_test_{id(calls)}", start)
    return model, calls


class Patch:
    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "patch", ("MODEL",)


class RaiseAtCall(Patch):
    """Raises ValueError("raised on purpose") at the k-th network call, counted from 1."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "call": ("INT", {"default": 1, "min": 1})}}

    def patch(self, model, call):
        def before(calls, x):
            if len(calls.rows) == call:
                raise ValueError("raised on purpose")

        return (watch(model, before)[0],)


class CancelAtCall(Patch):
    """Cancels the prompt during the k-th network call, counted from 1, as the button does."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "call": ("INT", {"default": 1, "min": 1})}}

    def patch(self, model, call):
        def before(calls, x):
            if len(calls.rows) == call:
                mm.interrupt_current_processing()

        return (watch(model, before)[0],)


class OutOfMemory(Patch):
    """Raises ComfyUI's out-of-memory exception for a call of more than ``rows`` rows, from the k-th call on, at most ``times`` times."""

    @classmethod
    def INPUT_TYPES(cls):
        count = ("INT", {"default": 1, "min": 0})
        return {"required": {"model": ("MODEL",), "rows": count, "from_call": count, "times": count}}

    def patch(self, model, rows, from_call, times):
        def before(calls, x):
            if x.shape[0] > rows and len(calls.rows) >= from_call and calls.failures < times:
                calls.failures += 1
                raise mm.OOM_EXCEPTION("out of memory on purpose")

        return (watch(model, before)[0],)


class DisturbDrawn(Patch):
    """Fails, runs out of memory or cancels at a network call whose last layer has other weights than the first call's had."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "layer": ("STRING", {}), "how": ("STRING", {"default": "error"})}}

    def patch(self, model, layer, how):
        owner, first = model.model.diffusion_model.get_submodule(layer), []

        def before(calls, x):
            first.append(owner.weight)
            if owner.weight is first[0]:
                return
            if how == "cancel":
                mm.interrupt_current_processing()
            else:
                raise mm.OOM_EXCEPTION("out of memory on purpose") if how == "memory" else ValueError("raised on purpose")

        return (watch(model, before)[0],)


class Wait(Patch):
    """Sleeps at each network call, so that there is time to cancel."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "seconds": ("FLOAT", {"default": 0.2, "min": 0.0})}}

    def patch(self, model, seconds):
        return (watch(model, lambda calls, x: time.sleep(seconds))[0],)


class DeafPage(Patch):
    """For the rest of this prompt the server's socket fails at every message of ours."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        server, prompt = PromptServer.instance, get_executing_context().prompt_id

        def fail(event, data, sid=None):
            now = get_executing_context()
            if now is not None and now.prompt_id != prompt:
                server.__dict__.pop("send_sync", None)  # back to the server's own
            elif str(event).startswith("uncertainty."):
                raise ConnectionError("deaf on purpose")
            type(server).send_sync(server, event, data, sid)

        server.send_sync = fail
        return (model,)


class PartlyOffloaded(Patch):
    """Once the model is loaded for sampling, ComfyUI's own manager takes half of it back, as it does when memory is short."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        def sample(executor, guider, *args, **kwargs):
            patcher = guider.model_patcher
            patcher.partially_unload(patcher.offload_device, patcher.model_size() // 2)
            return executor(guider, *args, **kwargs)

        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "uq_test_offload", sample)
        return (model,)


class CountCalls(Patch):
    """Counts network calls; read them with ReadCalls after sampling."""

    RETURN_TYPES = ("MODEL", "UQTEST_CALLS")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        return watch(model, lambda calls, x: None)


class ReadCalls(Patch):
    """The rows of each network call of the latest run; ``after`` only orders it behind the sampler."""

    RETURN_TYPES, OUTPUT_NODE, FUNCTION = (), True, "read"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"calls": ("UQTEST_CALLS",), "after": (Any("*"),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def read(self, calls, after):
        return {"ui": {"rows": list(calls.rows), "all_rows": list(calls.all_rows)}}


NODES = [RaiseAtCall, CancelAtCall, OutOfMemory, DisturbDrawn, Wait, DeafPage, PartlyOffloaded, CountCalls, ReadCalls]
