"""Laws that tell vectors apart, and say so in their own way."""

import pytest
import torch

from mho.circuit import Wires, solve_nonlinear


@pytest.mark.parametrize("refusal", [ValueError, RuntimeError, IndexError, ZeroDivisionError])
@pytest.mark.parametrize("vectors", [16, 64])
def test_a_law_for_so_many_vectors_is_asked_for_so_many_however_it_refuses_others(refusal, vectors):
    g = torch.full((64, 64), 1e-5, dtype=torch.float64)

    def law(v):
        if v.shape != (vectors, 64, 64):
            raise refusal("of other vectors")
        return g * v

    drive = torch.ones(vectors, 64, dtype=torch.float64)
    solved = solve_nonlinear(law, (64, 64), Wires(word=1.0, bit=1.0), drive)
    assert float(solved.residual.max()) < 1e-8
