"""diffusers host: textual inversion: the vectors of one new word, put in where a prompt says ``*``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from ....core.ensemble.training import Enter, member_start_generator
from ..images import encode_prompts
from ..information import Cond

STAR = "*"


@dataclass(frozen=True, eq=False)
class WordEncoder:
    """One text encoder of a pipeline. name: that of its vectors in embedding files. token: that stands for the new word."""

    name: str
    layer: nn.Embedding
    tokenizer: Any
    token: int


@dataclass(frozen=True, eq=False)
class Word:
    """A new word of so many vectors. stand_in: an existing word that the prompts don't use, whose vectors are replaced while encoding."""

    pipe: DiffusionPipeline
    vectors: int
    stand_in: str
    encoders: tuple[WordEncoder, ...]

    @classmethod
    def of(cls, pipe: DiffusionPipeline, prompts: Sequence[str], vectors: int = 1) -> Word:
        """Raises ValueError for a pipeline without text encoders."""
        ends = [end for end in ("", "_2", "_3") if getattr(pipe, f"text_encoder{end}", None) is not None]
        if not ends:
            raise ValueError(f"{type(pipe).__name__} has no text encoder whose words could be trained.")
        tokenizers = [getattr(pipe, f"tokenizer{end}") for end in ends]
        stand_in, tokens = find_unused_word(tokenizers, prompts)
        encoders = []
        for end, tokenizer, token in zip(ends, tokenizers, tokens, strict=True):
            encoder = getattr(pipe, f"text_encoder{end}")
            encoders.append(WordEncoder(vectors_name(encoder, end), encoder.get_input_embeddings(), tokenizer, token))
        return cls(pipe, vectors, stand_in, tuple(encoders))

    @contextmanager
    def vectors_inserted(self, vectors: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside the block the word has these vectors, (n, D) by encoder's name; gradients reach them. Undone on every exit."""
        with ExitStack() as hooks:
            for encoder in self.encoders:
                replaced = partial(replace_rows, encoder.token, vectors[encoder.name])
                hooks.callback(encoder.layer.register_forward_hook(replaced, with_kwargs=True).remove)
            yield

    def encode(self, prompts: Sequence[str]) -> tuple[Cond, Cond]:
        """Prompts, the word where they say ``*``, and the empty prompt; to be called inside ``vectors_inserted``."""
        word = " ".join([self.stand_in] * self.vectors)
        return encode_prompts(self.pipe, [prompt.replace(STAR, word) for prompt in prompts], "")

    def fresh(self, begin: str, seed: int) -> Enter:
        """For ``core.ensemble.training``: vectors that begin as those of the words ``begin``, or at random among all, if none are given.

        Random ones have the vocabulary's mean and spread. Source: Gal et al. 2023 (textual inversion).
        """

        @contextmanager
        def enter(k: int) -> Iterator[Mapping[str, Tensor]]:
            generator = member_start_generator(seed, k)
            made = {encoder.name: self.first(encoder, begin, generator) for encoder in self.encoders}
            with self.vectors_inserted(made):
                yield made

        return enter

    def first(self, encoder: WordEncoder, begin: str, generator: torch.Generator) -> Tensor:
        table = encoder.layer.weight.detach().float()
        if begin:
            tokens = encoder.tokenizer(begin, add_special_tokens=False).input_ids
            rows = table[[tokens[i % len(tokens)] for i in range(self.vectors)]]
        else:
            drawn = torch.randn((self.vectors, table.shape[1]), generator=generator).to(table)
            rows = table.mean(dim=0) + drawn * table.std(dim=0)
        return rows.clone().requires_grad_()


def replace_rows(
    token: int, vectors: Tensor, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
) -> Tensor:
    """Hook on an embedding layer: the i-th ``token`` of a prompt gets the i-th vector, beginning again after the last."""
    matches = (args[0] if args else kwargs["input"]) == token
    which = (matches.cumsum(dim=-1) - 1).clamp_min(0) % len(vectors)
    return torch.where(matches[..., None], vectors.to(output)[which], output)


def find_unused_word(tokenizers: Sequence[Any], prompts: Sequence[str]) -> tuple[str, list[int]]:
    """A word that is one token for every tokenizer and doesn't occur in the prompts, and those tokens."""
    used = [{i for p in set(prompts) for i in tokenizer(p, truncation=True).input_ids} for tokenizer in tokenizers]
    words = sorted(tokenizers[0].get_vocab().items(), key=lambda item: -item[1])
    for word in (token.removesuffix("</w>") for token, _ in words if token.endswith("</w>")):
        tokens = [tokenizer(word, add_special_tokens=False).input_ids for tokenizer in tokenizers]
        if word.isascii() and word.isalpha() and all(len(t) == 1 and t[0] not in s for t, s in zip(tokens, used, strict=True)):
            return word, [t[0] for t in tokens]
    raise ValueError("The tokenizers share no word that the prompts leave unused: give shorter prompts.")


def vectors_name(encoder: Any, end: str) -> str:
    """What embedding files call an encoder's vectors: by its place in the pipeline, SD 2 having another first one than SD 1."""
    first = "clip_h" if encoder.config.hidden_size == 1024 else "clip_l"
    return {"": first, "_2": "clip_g", "_3": "t5xxl"}[end]
