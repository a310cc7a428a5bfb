"""Kicks of noise: what happens at one bound is the mirror image of what happens at the other."""

import pytest
import torch

from mho.devices import kicks

F64 = torch.float64
# States everywhere, and more near the bounds; none on the edge of a condition.
DRAWN = torch.rand(1000, dtype=F64, generator=torch.Generator().manual_seed(0))
X = torch.cat((DRAWN, DRAWN**4, 1.0 - DRAWN**4, torch.tensor([0.0, 1.0])))


class Given:
    """Draws that are known before."""

    def __init__(self, sign=1.0):
        source = torch.Generator().manual_seed(1)
        self.normals = sign * torch.randn(len(X), generator=source, dtype=F64)
        self.uniforms = torch.rand(len(X), generator=source, dtype=F64)

    def normal(self, like):
        return self.normals

    def uniform(self, like):
        return self.uniforms


def mirrored(law):
    return lambda s: lambda x: -law(s)(1.0 - x)


LAWS = {
    "at rest": lambda s: lambda x: 0.0 * x,
    "pressed to the top": lambda s: lambda x: 30.0 + 0.0 * x,
    "pressed hard": lambda s: lambda x: 3000.0 + 0.0 * x,
    "to both sides": lambda s: lambda x: 80.0 * (x - 0.3),
    "steep at the top": lambda s: lambda x: 2.0 + 400.0 * (1.0 - x) * torch.exp(-30.0 * (1.0 - x)),
    "a wall between": lambda s: lambda x: 500.0 * torch.tanh(200.0 * (x - 0.8)),
    "a well": lambda s: lambda x: -300.0 * (x - 0.99),
}


@pytest.mark.parametrize("sigma", [0.02, 0.3])
@pytest.mark.parametrize("length", [1e-4, 3e-3, 0.1])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_bounds_are_alike(law, length, sigma):
    s, long = torch.full_like(X, 0.5), torch.full_like(X, length)
    for act in (kicks.kick, kicks.step):
        one = act(law, sigma, X, s, long, Given())
        other = act(mirrored(law), sigma, 1.0 - X, s, long, Given(-1.0))
        assert bool(((one >= 0.0) & (one <= 1.0)).all())
        torch.testing.assert_close(1.0 - other, one, rtol=0.0, atol=1e-9)
    lengths, together = kicks.interval(law, sigma, X, 0.0 * X)
    others, there = kicks.interval(mirrored(law), sigma, 1.0 - X, 0.0 * X)
    torch.testing.assert_close(others, lengths, rtol=1e-12, atol=0.0)
    assert torch.equal(there, together)
