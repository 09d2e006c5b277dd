"""Grids of pictures, without a ComfyUI: every picture whole and in its place, whatever its size."""

from __future__ import annotations

import pytest
import torch
from PIL import ImageFont

from uncertainty_nodes.hosts.comfyui.view.grid import LEAST_WIDTH, LONGEST_SIDE, Cell, draw_grid, fitting_size, font_size, shortened
from uncertainty_nodes.hosts.comfyui.view.grid_layout import list_cells, score_words, side, sweep_cells


def plain(tone: float, height: int = 40, width: int = 40) -> torch.Tensor:
    return torch.full((height, width, 3), tone)


def area(sheet: torch.Tensor, tone: float) -> tuple[int, int]:
    """Height and width of what has this tone."""
    there = ((sheet[0] - tone).abs() < 0.002).all(dim=-1)
    return int(there.any(dim=1).sum()), int(there.any(dim=0).sum())


def test_small_pictures_are_enlarged_evenly_and_keep_their_proportions():
    sheet = draw_grid([Cell(plain(0.4, 60, 40), ("a",)), Cell(plain(0.6, 20, 40), ("b",))], 2)
    scale = -(-LEAST_WIDTH // 40)
    assert area(sheet, round(0.4 * 255) / 255) == (60 * scale, 40 * scale)
    assert area(sheet, round(0.6 * 255) / 255) == (20 * scale, 40 * scale)


@pytest.mark.parametrize(("columns", "count"), [(12, 12), (1, 12)])
def test_a_grid_of_many_large_pictures_is_bounded(columns: int, count: int):
    sheet = draw_grid([Cell(plain(0.5, 1024, 1024))] * count, columns)
    assert max(sheet.shape[1:3]) <= LONGEST_SIDE + 60 * count


def test_colours_out_of_range_and_nan_are_no_error():
    broken = plain(2.0)
    broken[0, 0] = torch.nan
    sheet = draw_grid([Cell(broken, below=("failed: no score",))], 1, "one")
    assert sheet.dtype == torch.float32 and sheet.isfinite().all() and float(sheet.max()) == 1.0


def test_words_are_made_smaller_until_they_fit():
    assert fitting_size(["short"], 20, 400) == 20
    assert 8 <= fitting_size(["a sentence that is too long for its picture " * 2], 20, 400) < 20


@pytest.mark.parametrize(("columns", "side"), [(4, 1024), (6, 1024), (8, 256), (4, 512), (4, 224), (1, 1024)])
def test_words_can_be_read_where_the_whole_grid_is_seen(columns: int, side: int):
    cells = [Cell(plain(0.5, side, side), ("strength 0.02", "80 model calls, +60, x4"), ("score 0.01234",))] * columns
    size = font_size(cells, side, columns * side)
    assert 10 <= size * 900 / max(900, columns * side) <= 20
    assert all(ImageFont.load_default(size).getlength(words) <= side for words in (*cells[0].above, *cells[0].below))


def test_long_words_are_shortened_in_the_middle():
    name = "a_very_long_name_of_a_folder/" * 4 + "portrait_00012_.png"
    size = font_size([Cell(plain(0.5), (name,))], 224, 1024)
    line = shortened(name, size, 224)
    assert size >= 12 and ImageFont.load_default(size).getlength(line) <= 224
    assert line.startswith("a_very_") and line.endswith("12_.png") and "…" in line
    assert shortened("two\nlines  of text", 16, 224) == "two lines of text"


def test_a_sweep_has_a_column_for_each_value():
    pictures = [[torch.full((1, 8, 8, 3), v + b / 10) for b in range(2)] for v in range(3)]
    cells = sweep_cells(["a", "b", "c"], ["1", "2", "3"], pictures, [[0.1, 0.2], [0.3, float("nan")], [0.5, 0.6]])
    assert [float(cell.picture[0, 0, 0]) for cell in cells] == pytest.approx([0, 1, 2, 0.1, 1.1, 2.1])
    assert [cell.above for cell in cells] == [("a", "1"), ("b", "2"), ("c", "3"), (), (), ()]
    assert [cell.below[0] for cell in cells] == ["score 0.1", "score 0.3", "score 0.5", "score 0.2", "failed: no score", "score 0.6"]


def test_a_label_for_each_picture_makes_columns_as_well():
    images = [torch.full((1, 8, 8, 3), tone) for tone in (1.0, 2.0, 3.0, 4.0)]
    cells, columns = list_cells(images, ["x", "x", "y", "y"], [], 0)
    assert columns == 2 and [float(cell.picture[0, 0, 0]) for cell in cells] == [1, 3, 2, 4]
    assert [cell.above for cell in cells] == [("x",), ("y",), (), ()]


def test_unequal_groups_wrap():
    cells, columns = list_cells([torch.zeros(3, 8, 8, 3), torch.zeros(1, 8, 8, 3)], ["x", "y"], [], 0)
    assert columns == 4 and [cell.above for cell in cells] == [("x",), ("x",), ("x",), ("y",)]
    assert [side(n) for n in (1, 6, 7, 16)] == [1, 6, 3, 4]
    assert score_words(float("inf")) == "failed: no score"
