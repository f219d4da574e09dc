"""The plans of matrix products on tensor cores, and that no tile that they choose from spills."""

from itertools import product

import pytest
from emulation.device_kernels import OPTIONS
from emulation.resources import resources

from upconv.kernels.cuda import blocking, module


@pytest.mark.parametrize("products", [1, 3])
@pytest.mark.parametrize("vector", [1, 4])
def test_plans_cover_every_step_once(products, vector):
    for rows, columns, depth, batch in ((1, 1, 0, 1), (2048, 1024, 9216, 1), (64, 576, 524288, 1), (7, 5, 33, 40)):
        plan = blocking.plan(rows, columns, depth, batch, products, vector)
        steps = max(1, -(-depth // blocking.DEPTH))
        assert plan.tile in blocking.tiles(products, vector)
        assert (plan.splits - 1) * plan.steps < steps <= plan.splits * plan.steps


@pytest.mark.parametrize("room", [166912, 101376])  # bytes of an A100, of a GeForce RTX 30 or 40
def test_tiles_have_as_many_stages_as_shared_memory_holds(room):
    tiles = [tile.within(room) for tile in blocking.TILES]
    assert all(tile.shared <= room for tile in tiles)
    assert all(tile.shared * 3 > 2 * room for tile in tiles if tile.stages == 2)
    assert {tile.stages for tile in tiles} == ({3} if room > 2**17 else {2, 3})


def forms(tile, products, vector):
    """Every form of both kernels with a tile: source, name, definitions."""
    shape = tile.defines | {"PRODUCTS": products}
    for turned, phased, whole, offset in product((0, 1), (0, 1), {0, int(vector > 1)}, ("int", "i64")):
        form = {"VECTOR": vector, "TURNED": turned, "PHASED": phased, "WHOLE": whole, "OFFSET": offset}
        yield "convolution.cu", "correlate", shape | form
    for offset in ("int", "i64"):
        form = {"VECTOR_X": vector, "VECTOR_G": vector, "OFFSET": offset}
        yield "convolution_weight.cu", "correlate_weight", shape | form


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("vector", [1, 4])
@pytest.mark.parametrize("products", [1, 3])
def test_no_form_spills(products, vector, arch):
    tiles = blocking.tiles(products, vector)
    for tile in {*tiles, *(tile.within(101376) for tile in tiles)}:
        for source, name, defines in forms(tile, products, vector):
            code = (module.FOLDER / source).read_text(encoding="utf-8")
            took = resources(code, module.kernel(source, name, **defines).options + OPTIONS, arch)[name]
            assert not took.spilled and not took.stack, (defines, took)
            assert took.registers * tile.threads * tile.blocks <= 65536, (defines, took)
