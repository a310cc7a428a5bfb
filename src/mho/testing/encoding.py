"""What any encoding must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mho.core import random
from mho.encoding.base import Encoding
from mho.testing import expect

_SHAPES = ((1, 1), (1, 4), (5, 1), (6, 3), (17, 9))


class EncodingContract:
    """What any encoding must obey, as tests.

    Subclass it, return your encoding from ``encoding``, and run pytest::

        class TestMyEncoding(EncodingContract):
            def encoding(self):
                return MyEncoding(bits=4)

            def resolution(self, weight):
                return float(weight.abs().max()) / 15 / 2

    Class attributes:
        windows: conductance windows ``(g_min, g_max)`` (S) that are tried.
        labels: fields of the encoding that need not change anything, each with the reason.
    """

    labels: Mapping[str, str] = MappingProxyType({})

    windows: tuple[tuple[float, float], ...] = ((1e-6, 1e-4), (0.0, 5e-5))

    def encoding(self) -> Encoding:
        """Return the encoding under test."""
        raise NotImplementedError(f"{type(self).__name__} must define encoding()")

    def resolution(self, weight: Tensor) -> float:
        """Return the largest error that decoding may show for ``weight``; by default none."""
        return 0.0

    def test_spec_round_trips(self) -> None:
        expect.round_trips(self.encoding())

    def test_every_field_acts(self) -> None:
        def observed(encoding: Encoding) -> list[Tensor]:
            weight, window = _random(17, 9), self.windows[0]
            g, scale = encoding.encode(weight, *window)
            analog, digital = torch.tensor(encoding.analog), torch.tensor(encoding.digital)
            stuck = torch.rand(g.shape, generator=random.generator(1)) < 0.2
            found, shares = encoding.suit(g, stuck, torch.full_like(g, window[1]), 1, *window)
            last = [] if shares is None else [shares]
            return [g, scale, analog, digital, encoding.decode(g, scale), found, *last]

        expect.every_field_acts(self.encoding(), observed, self.labels)

    def test_counts_agree(self) -> None:
        encoding = self.encoding()
        for row in encoding.analog:
            expect.equal("slices in every row of analog", len(row), encoding.slices)
        expect.equal("length of digital", len(encoding.digital), encoding.converters)
        expect.equal("length of combination", len(encoding.combination), encoding.slices)

    def test_conductances_lie_in_the_window(self) -> None:
        for window in self.windows:
            for shape in _SHAPES:
                g, _ = self.encoding().encode(_random(*shape), *window)
                low, high = float(g.min()), float(g.max())
                slack = 1e-12 * window[1]
                inside = max(window[0] - slack, 0.0) <= low and high <= window[1] + slack
                expect.holds(inside, f"conductances in {window} S", (low, high))

    def test_shapes(self) -> None:
        encoding = self.encoding()
        for rows, cols in _SHAPES:
            g, scale = encoding.encode(_random(rows, cols), *self.windows[0])
            wanted = (encoding.slices, rows, encoding.physical_cols(cols))
            expect.equal("shape of the conductances", tuple(g.shape), wanted)
            per_column = encoding.scaling.per_column
            expect.equal("shape of scale", tuple(scale.shape), (cols,) if per_column else ())
            expect.holds(bool((scale > 0).all()), "scale > 0", scale)

    def test_decode_gives_back_the_weights(self) -> None:
        for window in self.windows:
            for shape in _SHAPES:
                weight = _random(*shape)
                found = self.encoding().decode(*self.encoding().encode(weight, *window))
                allowed = self.resolution(weight) * (1 + 1e-9) + 1e-12
                worst = float((found - weight).abs().max())
                expect.holds(worst <= allowed, f"error <= {allowed:.6g} at shape {shape}", worst)

    def test_decoded_weights_are_kept(self) -> None:
        encoding, window = self.encoding(), self.windows[0]
        once = encoding.decode(*encoding.encode(_random(6, 3), *window))
        again = encoding.decode(*encoding.encode(once, *window))
        expect.close("weights encoded twice", again, once, rtol=1e-9, atol=1e-12)

    def test_weight_is_scale_times_the_combined_slices(self) -> None:
        encoding = self.encoding()
        if encoding.physical_cols(4) != 4:
            return  # columns that are shared are not part of the equation
        g, scale = encoding.encode(_random(6, 4), *self.windows[0])
        c = torch.tensor(encoding.combination, dtype=g.dtype)
        combined = scale * torch.tensordot(c, g, dims=1)
        expect.close("decoded weight", encoding.decode(g, scale), combined, rtol=1e-9, atol=1e-12)

    def test_ideal_is_what_converters_see_of_encode(self) -> None:
        encoding, weight = self.encoding(), _random(6, 4)
        g, scale = encoding.encode(weight, *self.windows[0])
        matrix, same_scale, siemens = encoding.ideal(weight, *self.windows[0])
        matrix = matrix if siemens is None else matrix * siemens
        expect.close("ideal matrix", matrix, encoding.converted(g), rtol=1e-9, atol=1e-18)
        expect.close("ideal scale", same_scale, scale)

    def test_zero_weights(self) -> None:
        encoding = self.encoding()
        g, scale = encoding.encode(torch.zeros(4, 3).double(), *self.windows[0])
        expect.finite("scale of zero weights", scale)
        zeros = torch.zeros(4, 3, dtype=torch.float64)
        expect.close("zero weights", encoding.decode(g, scale), zeros, atol=1e-12)

    def test_gradient_of_the_decoded_weight_is_one(self) -> None:
        encoding, weight = self.encoding(), _random(6, 4)
        weight[0, 0] = 0.0
        upstream = _random(6, 4, seed=1)
        weight.requires_grad_()
        decoded = encoding.decode(*encoding.encode(weight, *self.windows[0]))
        (grad,) = torch.autograd.grad(decoded, weight, upstream)
        inside = (weight.detach().abs() < encoding.scaling.limit(weight)).expand_as(grad)
        expect.close("gradient inside the range", grad[inside], upstream[inside], rtol=1e-9)

    def test_variances_carry_squared_coefficients(self) -> None:
        encoding = self.encoding()
        cells = encoding.physical_cols(2)
        for s in range(encoding.slices):
            one = torch.zeros(encoding.slices, 3, cells, dtype=torch.float64)
            one[s, 1, 1] = 1.0
            squared = encoding.converted(one).square()
            expect.close(f"variance of slice {s}", encoding.converted_variance(one), squared)

    def test_transposed_drive_is_the_adjoint(self) -> None:
        encoding, x = self.encoding(), _random(2, 4, seed=1)
        g, scale = encoding.encode(_random(6, 4), *self.windows[0])
        parts = encoding.converted(g).unflatten(-1, (encoding.converters, -1))
        digital = torch.tensor(encoding.digital, dtype=g.dtype)
        driven = encoding.drive_columns(x * scale)
        y = torch.einsum("bc,rkc,k->br", driven, parts, digital)
        expect.close("transposed read", y, x @ encoding.decode(g, scale).T, rtol=1e-9, atol=1e-12)

    def test_full_scale_is_the_worst_cell(self) -> None:
        encoding, (low, high) = self.encoding(), self.windows[0]
        worst = 0.0
        for row in encoding.analog:
            for choose in (1.0, -1.0):
                g = torch.tensor([high if a * choose > 0 else low for a in row])
                worst = max(worst, abs(float(torch.tensor(row) @ g)))
        found = torch.tensor(encoding.full_scale(low, high))
        expect.close("full scale", found, torch.tensor(worst), rtol=1e-6)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=random.generator(seed), dtype=torch.float64)
