"""Parting ComfyUI's batches, without a ComfyUI: nothing is lost, and what belongs together stays together."""

from __future__ import annotations

import pytest
import torch

from uncertainty_nodes.hosts.comfyui.batch import part_latents, part_tensors, pick_latent


def images(*indexes, frames=1):
    return torch.stack([torch.full((2, 2, 3), float(i * 10 + k)) for i in indexes for k in range(frames)])


def seen(batches):
    return [[int(image.flatten()[0]) for image in batch] for batch in batches]


@pytest.mark.parametrize(
    ("accepted", "kept", "dropped"),
    [({1, 2}, [[10, 20]], [[0, 30]]), (set(), [], [[0, 10, 20, 30]]), ({0, 1, 2, 3}, [[0, 10, 20, 30]], [])],
)
def test_one_batch_stays_one_batch(accepted, kept, dropped):
    sides = part_tensors("images", [images(0, 1, 2, 3)], accepted, 4)
    assert [seen(side) for side in sides] == [kept, dropped]


def test_a_list_stays_a_list_without_what_is_empty():
    kept, dropped = part_tensors("images", [images(0), images(1, 2), images(3)], {0, 2}, 4)
    assert (seen(kept), seen(dropped)) == ([[0], [20]], [[10], [30]])


def test_a_batch_that_is_kept_whole_is_the_same_object():
    batch, other = images(0, 1), images(2)
    kept, dropped = part_tensors("images", [batch, other], {0, 1}, 3)
    assert kept[0] is batch and dropped[0] is other
    latent = {"samples": torch.zeros(2, 4, 2, 2)}
    assert part_latents([latent], {0, 1}, 2)[0][0] is latent


def test_the_frames_of_a_video_stay_together():
    kept, dropped = part_tensors("images", [images(0, 1, frames=3)], {1}, 2)
    assert (seen(kept), seen(dropped)) == ([[10, 11, 12]], [[0, 1, 2]])


def test_one_mask_belongs_to_all():
    kept, dropped = part_tensors("masks", [torch.ones(1, 4, 4)], {0, 2}, 3)
    assert (kept[0].shape, dropped[0].shape) == ((2, 4, 4), (1, 4, 4))


@pytest.mark.parametrize(("name", "rows"), [("images", 3), ("images", 1), ("masks", 3)])
def test_what_does_not_fit_is_told(name, rows):
    with pytest.raises(ValueError, match=f"There are 2 scores, but {rows} {name} came with them; connect the {name} that were scored"):
        part_tensors(name, [torch.zeros(rows, 4, 4, 3)], {0}, 2)
    with pytest.raises(ValueError, match="There are 2 scores, but 3 latents came"):
        part_latents([{"samples": torch.zeros(3, 4, 2, 2)}], {0}, 2)


@pytest.mark.parametrize("shape", [(4, 16, 2, 2), (4, 16, 3, 2, 2)])
def test_all_that_belongs_to_a_latent_goes_with_it(shape):
    latent = {
        "samples": torch.arange(4.0).view(4, *[1] * (len(shape) - 1)).expand(shape),
        "noise_mask": torch.arange(4.0).view(4, 1, 1, 1),
        "batch_index": [7, 8, 9, 10],
        "other": torch.arange(4),
        "downscale_ratio": 8,
    }
    picked = pick_latent(latent, [3, 1])
    assert picked["samples"].shape == (2, *shape[1:]) and picked["samples"].flatten(1)[:, 0].tolist() == [3, 1]
    assert picked["noise_mask"].flatten().tolist() == picked["other"].tolist() == [3, 1]
    assert picked["batch_index"] == [10, 8] and picked["downscale_ratio"] == 8
    assert latent["batch_index"] == [7, 8, 9, 10]


@pytest.mark.parametrize(("masks", "expected"), [(1, [0]), (2, [1, 1]), (4, [3, 1])])
def test_noise_masks_are_repeated_as_samplers_do(masks, expected):
    latent = {"samples": torch.zeros(4, 4, 2, 2), "noise_mask": torch.arange(float(masks)).view(-1, 1, 1, 1)}
    picked = pick_latent(latent, [3, 1])
    assert picked["noise_mask"].flatten().tolist() == expected
    assert picked["batch_index"] == [3, 1]
