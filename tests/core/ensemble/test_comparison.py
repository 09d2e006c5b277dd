"""What an ensemble's result says of its steps: moments, distances, failures, and where it came from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from references_ensemble import SHAPE, VP, networks, noise, options, run
from uncertainty_nodes.core.ensemble.paide import Outcomes, per_image, per_pixel
from uncertainty_nodes.core.options import Direction, Distance, EnsembleOptions, Moment, PaideOptions


def test_moments_pick_from_one_curve():
    found = {m: run(networks(3), branch=0, chosen=options(moment=m)) for m in Moment}
    curve = found[Moment.MEAN].information.curve
    assert curve.shape == (3, 3) and all(torch.equal(f.information.curve, curve) for f in found.values())
    assert torch.equal(found[Moment.FIRST].information.scores, curve[0])
    assert torch.equal(found[Moment.LAST].information.scores, curve[-1])
    torch.testing.assert_close(found[Moment.MEAN].information.scores, curve.mean(0))
    maps = {m: f.distance.maps.flatten(1).sum(1) for m, f in found.items()}  # raw distances add up over pixels
    for m, f in found.items():
        torch.testing.assert_close(maps[m], f.distance.scores, msg=lambda text, m=m: f"{m}: {text}")
    assert float(maps[Moment.FIRST][0]) != float(maps[Moment.LAST][0])


@pytest.mark.parametrize("bandwidth", [0.0, 5.0])
def test_the_last_moment_is_how_far_the_finished_samples_are_apart(bandwidth):
    chosen = EnsembleOptions(weights=(3.0, 2.0, 1.0), paide=PaideOptions(bandwidth=bandwidth))
    found = run(networks(3), chosen=chosen)
    points = Outcomes(found.samples)
    for function, name in ((per_image, "scores"), (per_pixel, "maps")):
        expected = function(points, chosen.paide, chosen.weights)
        torch.testing.assert_close(getattr(found.information, name).double(), expected.information)
        torch.testing.assert_close(getattr(found.distance, name).double(), expected.distance)


def test_members_that_part_late_are_not_taken_for_equal():
    network = networks(1)[0]

    def late(x: Tensor, sigma: Tensor) -> Tensor:
        return network(x, sigma) + (sigma < 0.2).view(-1, 1, 1, 1)

    found = run([network, late], branch=0)
    assert found.distance.curve[:, 0].tolist() == pytest.approx([0.0, 0.0, 32.0]) and "note" not in found.information.provenance


@pytest.mark.parametrize("distance", [Distance.KL, Distance.BHATTACHARYYA])
def test_gaussian_distances_where_the_members_part(distance):
    """From one sample, KL = 1/2 (SNR' - SNR) |x0_i - x0_j|^2 and Bhattacharyya a quarter of it; the last step has no variance."""
    denoisers, x = networks(2), noise()
    found = run(denoisers, x, branch=0, chosen=options(paide=PaideOptions(distance), moment=Moment.FIRST))
    x0 = [n(x, torch.full((3,), VP[0])).detach() for n in denoisers]
    gain = (1 - VP[1] ** 2) / VP[1] ** 2 - (1 - VP[0] ** 2) / VP[0] ** 2
    expected = gain / 2 * (x0[0] - x0[1]).square() / (4 if distance is Distance.BHATTACHARYYA else 1)
    torch.testing.assert_close(found.distance.maps, expected, rtol=1e-4, atol=1e-7)
    assert found.information.sigmas.tolist() == pytest.approx(VP[:2])
    with pytest.raises(ValueError, match=f"No step after the branch has the variance that the distance '{distance.value}' needs"):
        run(denoisers, branch=2, chosen=options(paide=PaideOptions(distance)))


def test_where_one_member_fails_only_that_image_has_no_score():
    good, other = networks(2)

    def fails(x: Tensor, sigma: Tensor) -> Tensor:
        failed = torch.tensor([1.0, math.nan, 1.0]).view(3, 1, 1, 1)
        return failed * other(x, sigma)

    found, whole = run([good, fails], branch=0), run([good, other], branch=0)
    assert found.information.scores.isnan().tolist() == found.distance.scores.isnan().tolist() == [False, True, False]
    assert torch.equal(found.information.scores[[0, 2]], whole.information.scores[[0, 2]])


def test_what_it_says_of_itself(tmp_path):
    found = run(networks(2), chosen=EnsembleOptions(seed=3))
    for result, quantity in ((found.information, "epistemic"), (found.distance, "distance")):
        assert result.quantity == quantity and result.direction is Direction.HIGH_IS_BAD and result.seconds > 0
        assert result.maps.shape == SHAPE and result.scores.shape == (3,)
        said = result.provenance
        assert (said["method"], said["distance"], said["bandwidth"], said["moment"]) == ("ensemble", "w2", "per dimension", "last")
        assert (said["branch"], said["members"], said["seed"]) == ("step 1 of 3", "member 0, member 1", "3")
        assert said["base"] == f"member {found.base}" and "note" not in said
        result.save(tmp_path / "result.safetensors")
