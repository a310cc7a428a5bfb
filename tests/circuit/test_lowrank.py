"""Low-rank expansions, against cell-by-cell sums and NumPy's SVD."""

import itertools

import numpy as np
import pytest
import torch

from mho.circuit import expand
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.pickett import Pickett
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.yakopcic import Yakopcic

F64 = torch.float64


def law_of(device):
    p = device.parameters()
    return lambda v, x: device.current_at(x, v, p)


@pytest.mark.parametrize("device", [StanfordPKU(), DataDriven2018(), DataDriven2021(), Yakopcic()])
def test_separable_devices_have_rank_one(device):
    found = expand(law_of(device), (-1.0, 1.0), tolerance=1e-6)
    assert found.rank == 1
    assert float(found.singular_values[1]) < 1e-13  # exact, but for rounding
    assert found.max_error < 1e-6
    finer = expand(law_of(device), (0.0, 1.0), rank=1, points=513)
    assert finer.max_error < 3e-7  # nothing but interpolation is left


def test_pickett_needs_more():
    law = law_of(Pickett())
    errors = [expand(law, (-0.5, 0.5), rank=k) for k in range(1, 7)]
    assert errors[0].max_error > 0.02
    assert all(b.rms_error < a.rms_error for a, b in itertools.pairwise(errors))
    assert all(e.rms_error <= e.max_error for e in errors)
    assert errors[5].max_error < 1e-4
    found = expand(law, (-0.5, 0.5), tolerance=1e-3)
    assert 1 < found.rank <= 4
    # the error stated holds where it was not measured
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(400, 1, generator=generator, dtype=F64) - 0.5
    x = torch.rand(400, generator=generator, dtype=F64)
    worst = float((found.current(v, x) - law(v, x)).abs().max())
    assert worst <= 1.02 * found.max_error * found.largest


def test_truncation_is_that_of_the_svd():
    law = law_of(Pickett())
    v = torch.linspace(-0.5, 0.5, 257, dtype=F64)
    x = torch.linspace(0, 1, 257, dtype=F64)
    table = law(v[:, None], x[None]).numpy()
    s = np.linalg.svd(table, compute_uv=False)
    found = expand(law, (-0.5, 0.5), rank=2)
    assert np.allclose(found.singular_values.numpy(), s / s[0], atol=1e-13)
    miss = found.current(v[:, None], x[None]).numpy() - table
    assert np.linalg.norm(miss) == pytest.approx(np.sqrt((s[2:] ** 2).sum()), rel=1e-9)


def test_reads_are_sums_over_cells():
    law = law_of(Pickett())
    found = expand(law, (-0.5, 0.5), tolerance=1e-4)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(3, 20, 7, generator=generator, dtype=F64)
    v = torch.rand(3, 5, 20, generator=generator, dtype=F64) - 0.5
    exact = law(v[..., None], x[:, None]).sum(-2)
    read = found.read(v, x)
    assert read.shape == (3, 5, 7)
    assert float((read - exact).abs().max()) <= 20 * 1e-4 * found.largest
    assert torch.equal(found.read_with(v, found.matrix(x)), read)
    assert torch.allclose(found.read(v[0, 0], x[0]), read[0, 0])
    single = found.to(torch.float32)
    assert single.read(v.float(), x.float()).dtype == torch.float32
    assert (
        float((single.read(v.float(), x.float()) - exact).abs().max()) < 20 * 2e-4 * found.largest
    )


def test_gradients():
    found = expand(lambda v, x: torch.sinh(v) * x + v**2 * x**2, (-1, 1), rank=2)
    x = torch.rand(3, 2, dtype=F64).requires_grad_()
    v = (torch.rand(2, 3, dtype=F64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(found.read, (v, x), atol=1e-6)


def test_refusals():
    law = lambda v, x: v * x  # noqa: E731
    with pytest.raises(ValueError, match="either"):
        expand(law, (-1, 1))
    with pytest.raises(ValueError, match="either"):
        expand(law, (-1, 1), rank=1, tolerance=0.1)
    with pytest.raises(ValueError, match="v_range"):
        expand(law, (1, -1), rank=1)
    with pytest.raises(ValueError, match="finite"):
        expand(lambda v, x: v / 0.0 * x, (-1, 1), rank=1)
    with pytest.raises(ValueError, match="everywhere"):
        expand(lambda v, x: 0.0 * v * x, (-1, 1), rank=1)
    with pytest.raises(ValueError, match=r"least error is .* with"):
        expand(lambda v, x: torch.exp(-(((v - x) / 1e-3) ** 2)), (0, 1), tolerance=1e-3, points=65)
    found = expand(law, (-1, 1), rank=1)
    with pytest.raises(ValueError, match=r"v must be in \[-1, 1\]"):
        found.read(torch.full((2,), 1.5), torch.rand(2, 2))
    with pytest.raises(ValueError, match="x must be in"):
        found.read(torch.zeros(2), torch.full((2, 2), -0.5))
    with pytest.raises(ValueError, match="shape"):
        found.read(torch.zeros(3), torch.rand(2, 2))
