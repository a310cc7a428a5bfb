"""Quick ways of reading: narrow products, patches in blocks, single vectors, equal bit planes."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mho
from mho.crossbar import currents, read

EIGHT = mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=8))


# ── products ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("lines", "bits"), [(1, False), (2, False), (4, True), (10, True)])
def test_narrow_products_of_several_groups_are_those_of_wide_ones(
    lines: int, bits: bool, turned: bool
) -> None:
    torch.manual_seed(0)
    inputs = torch.randint(-1, 2, (7, 300, 9)).float() if bits else torch.randn(7, 300, 9)
    inputs = inputs.mT.contiguous().mT if turned else inputs
    matrices = torch.randn(7, 9, lines)
    found = currents.multiply(inputs, matrices, bits=bits)
    assert found.is_contiguous()
    wide = torch.cat((matrices, torch.randn(7, 9, 20)), dim=2)
    exact = (inputs.double() @ wide.double())[..., :lines]
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    # One matrix a time, as a read of one group alone multiplies.
    torch.testing.assert_close(found[3], inputs[3] @ matrices[3])


def test_narrow_products_keep_gradients() -> None:
    left = torch.randn(3, 8, 4, dtype=torch.float64, requires_grad=True)
    right = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: currents.multiply(a, b, bits=True), (left, right))


@pytest.mark.parametrize("tiles", [2, 3, 4, 5])
def test_results_of_tiles_are_added(tiles: int) -> None:
    levels = torch.randint(-127, 128, (2, tiles, 6, 5)).float()
    expected = levels.sum(1)
    assert torch.equal(currents._sum_tiles([levels.clone()], whole=True), expected)
    assert torch.equal(
        currents._sum_tiles([levels.clone(), levels[:, :1]]), expected + levels[:, 0]
    )


# ── images whose patches have ranges of their own ────────────────────────────────────────────


def by_hand(x: Tensor, conv: nn.Conv2d, bits: int = 8) -> Tensor:
    """Convolve patch by patch: each driven by its own largest input, converted by its largest."""
    top = 2 ** (bits - 1) - 1
    rows = F.unfold(x, conv.kernel_size, padding=1)  # [batch, channels · kernel, patches]
    largest = rows.abs().amax(1, keepdim=True)
    level = (rows / largest * top).round()
    kernels = conv.weight.flatten(1).unflatten(0, (conv.groups, -1))
    split = level.unflatten(1, (conv.groups, -1))
    sums = torch.einsum("gok,bgkp->bgop", kernels, split).flatten(1, 2)
    full = sums.abs().amax(1, keepdim=True)  # a converter serves all lines
    return (sums / full * top).round() * full / top * largest / top


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_patches_read_in_blocks(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False, dtype=torch.float64)
    x = torch.randn(3, 8, 7, 6, dtype=torch.float64)
    layer = mho.convert(conv, EIGHT).eval()
    with torch.no_grad():
        whole = layer(x)
        monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 1000)
        assert torch.equal(layer(x), whole)
        expected = by_hand(x, conv).view_as(whole)
    torch.testing.assert_close(whole, expected)


def test_ranges_of_vectors_know_nan_and_zero() -> None:
    dac = mho.DAC(bits=8, range="per_vector")
    x = torch.tensor([[0.0, 0.0], [-3.0, 1.0], [float("nan"), 1.0]])
    found = dac.measure(x)
    assert found[0] == torch.finfo(x.dtype).eps
    assert found[1] == 3.0
    assert found[2].isnan()


@pytest.mark.parametrize("bits", [8, 9, 16, 17])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("code", ["sign_magnitude", "twos_complement"])
def test_bits_of_the_largest_levels(bits: int, signed: bool, code: str) -> None:
    dac = mho.DAC(bits=bits, mode="bit_serial", signed=signed, code=code)
    low, high = dac.levels
    level = torch.tensor([low, low + 1, 0, 1, high - 1, high], dtype=torch.float64)
    planes = [plane.clone() for plane in dac.bits_of(level)]
    assert all(set(plane.abs().tolist()) <= {0.0, 1.0} for plane in planes)
    total = sum(w * plane for w, plane in zip(dac.plane_weights, planes, strict=True))
    assert torch.equal(total, level)


def test_currents_that_cancel_are_no_smallest_current_however_they_are_read() -> None:
    torch.manual_seed(1)
    linear = nn.Linear(300, 96, dtype=torch.float64)
    linear.weight.data = (linear.weight.data * 40).round() / 40  # sums that cancel but for rounding
    hardware = mho.Hardware(
        dac=mho.DAC(bits=8),
        adc=mho.ADC(6, method="log_minmax", range="per_vector"),
        encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
        array=mho.Array(128, 128),
    )
    layer = mho.convert(linear, hardware).eval()
    x = torch.randn(300, 300, dtype=torch.float64)
    x[:, ::3] = 0.0
    with torch.no_grad():
        mho.limit_memory(layer, 10**10)
        whole = layer(x)
        mho.limit_memory(layer, 10**5)
        torch.testing.assert_close(layer(x), whole, rtol=1e-9, atol=1e-9)


# ── single vectors on ideal arrays ───────────────────────────────────────────────────────────


@pytest.fixture
def ideal() -> nn.Module:
    torch.manual_seed(0)
    layer = mho.convert(nn.Linear(6, 4), mho.Hardware()).eval()
    with torch.no_grad():
        layer(torch.randn(1, 6))  # from now on it is one product
    return layer


def test_hooks_of_a_crossbar_are_called(ideal: nn.Module) -> None:
    seen = []
    handle = ideal.crossbar.register_forward_hook(lambda *_: seen.append("own"))
    ideal(torch.randn(1, 6))
    handle.remove()
    everywhere = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module).__name__)
    )
    ideal(torch.randn(1, 6))
    everywhere.remove()
    assert seen == ["own", "Crossbar", "Linear"]


def test_what_stands_for_a_crossbars_forward_is_called(ideal: nn.Module) -> None:
    crossbar, seen = ideal.crossbar, []
    own, x = crossbar.forward, torch.randn(1, 6)

    def instead(*args: Tensor) -> Tensor:
        seen.append("instead")
        return own(*args)

    crossbar.forward = instead  # as accelerate's hooks do
    ideal(x)
    del crossbar.forward
    crossbar.compile(backend=lambda graph, _: seen.append("compiled") or graph.forward)
    ideal(x)
    assert seen == ["instead", "compiled"]


def test_what_is_refused_is_refused_at_every_read(ideal: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"input must have shape"):
        ideal(torch.randn(1, 5))
    with pytest.raises(ValueError, match=r"input must have shape"):
        ideal(torch.tensor(1.0))
    with pytest.raises(TypeError, match="input must be"):
        ideal([1.0] * 6)
    with pytest.raises(TypeError, match=r"float32"):
        ideal(torch.randn(1, 6, dtype=torch.float64))


def test_quick_reads_are_those_of_torch(ideal: nn.Module) -> None:
    x = torch.randn(2, 3, 6, requires_grad=True)
    plain = F.linear(x, ideal.crossbar.effective_weight.T.detach(), ideal.bias)
    torch.testing.assert_close(ideal(x), plain)
    (found,) = torch.autograd.grad(ideal(x).square().sum(), x)
    (expected,) = torch.autograd.grad(plain.square().sum(), x)
    torch.testing.assert_close(found, expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert ideal(x).dtype == torch.bfloat16
    assert ideal(x).dtype == torch.float32


def test_changes_are_seen_by_quick_reads(ideal: nn.Module) -> None:
    x = torch.randn(1, 6)
    with torch.no_grad():
        ideal.bias.add_(1.0)  # digital: acts at once
        moved = ideal(x)
        ideal.weight.mul_(2.0)
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        assert torch.equal(ideal(x), moved)
    mho.program(ideal)
    expected = F.linear(x, ideal.weight, ideal.bias)
    torch.testing.assert_close(ideal(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ideal(x)
    mho.compensate(ideal)
    ideal.crossbar.commit(correction=ideal.crossbar.correction.replace(gain=torch.full((4,), 3.0)))
    for _ in range(2):  # the second time there is a matrix to read quickly
        torch.testing.assert_close(ideal(x), 3.0 * F.linear(x, ideal.weight) + ideal.bias)
