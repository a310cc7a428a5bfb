"""What any decomposition of gradients must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from mho.core import random
from mho.decomposition import Decomposition, Factors
from mho.testing import expect

OUT, IN, BATCH = 12, 17, 10
Batch = tuple[Tensor | None, Tensor | None, Tensor]
"""``input [samples, in]``, ``delta [samples, out]``, ``gradient [out, in]``."""


class DecompositionContract:
    """What any decomposition must obey, as tests.

    Subclass it, return your decomposition from ``decomposition``, and run pytest::

        class TestMyDecomposition(DecompositionContract):
            def decomposition(self):
                return MyDecomposition(rank=3)

    Class attributes:
        accuracy: to which a gradient of rank one is given back, relative to its largest entry;
            None if it is not.
        scales: gradients a million times as large or as small are decomposed just as well.
        forgets: what a batch gives does not depend on the batches before.
    """

    accuracy: float | None = 1e-6
    scales: bool = True
    forgets: bool = False

    def decomposition(self) -> Decomposition:
        """Return the decomposition under test, new."""
        raise NotImplementedError(f"{type(self).__name__} must define decomposition()")

    def batches(self, dtype: torch.dtype = torch.float64) -> dict[str, Batch]:
        """Return a batch with its samples, and its gradient alone."""
        input, delta = _random(BATCH, IN, dtype=dtype), _random(BATCH, OUT, seed=1, dtype=dtype)
        gradient = delta.T @ input
        return {"samples": (input, delta, gradient), "gradient alone": (None, None, gradient)}

    def test_factors_are_of_the_gradients_shape(self) -> None:
        for name, (input, delta, gradient) in self.batches().items():
            found = self.decomposition().factors(input, delta, gradient, 0)
            expect.holds(isinstance(found, Factors), f"Factors of {name}", type(found))
            expect.equal("shape of left", tuple(found.left.shape), (OUT, found.rank))
            expect.equal("shape of right", tuple(found.right.shape), (IN, found.rank))
            expect.finite("left", found.left)
            expect.finite("right", found.right)

    def test_decompose_gives_the_product_of_the_factors(self) -> None:
        for name, batch in self.batches().items():
            product = self.decomposition().factors(*batch, 0).product()
            expect.same(f"decompose of {name}", self.decomposition().decompose(*batch, 0), product)

    def test_terms_add_up(self) -> None:
        found = self.decomposition().factors(*self.batches()["samples"], 0)
        terms = torch.stack([term.product() for term in found.split()]).sum(0)
        expect.close("sum of the terms", terms, found.product(), rtol=1e-9, atol=1e-12)

    def test_dtype_is_kept(self) -> None:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for name, batch in self.batches(dtype).items():
                result = self.decomposition().decompose(*batch, 0)
                expect.equal(f"dtype of {name}", result.dtype, dtype)
                expect.equal(f"shape of {name}", tuple(result.shape), (OUT, IN))

    def test_a_better_approximation_than_nothing(self) -> None:
        for name, (input, delta, gradient) in self.batches().items():
            decomposition = self.decomposition()
            for _ in range(4):
                decomposition.decompose(input, delta, gradient, 0)
            error = decomposition.decompose(input, delta, gradient, 0) - gradient
            left_out, whole = float(error.norm()), float(gradient.norm())
            expect.holds(left_out < whole, f"|error| < |gradient| = {whole:g} of {name}", left_out)

    def test_a_gradient_of_rank_one_is_given_back(self) -> None:
        if self.accuracy is None:
            return
        sizes = torch.linspace(0.5, 2.0, BATCH, dtype=torch.float64).unsqueeze(1)
        input, delta = sizes * _random(1, IN).abs(), sizes * _random(1, OUT, seed=1).abs()
        gradient = delta.T @ input
        both: tuple[Batch, Batch] = (input, delta, gradient), (None, None, gradient)
        for batch in both:
            result = self.decomposition().decompose(*batch, 0)
            allowed = self.accuracy * float(gradient.abs().max())
            expect.close("a gradient of rank one", result, gradient, rtol=0.0, atol=allowed)

    def test_no_gradient_no_factors(self) -> None:
        for name, batch in self.batches().items():
            zero = _each(torch.zeros_like, batch)
            decomposition = self.decomposition()
            for _ in range(2):
                result = decomposition.decompose(*zero, 0)
                expect.same(f"decompose of zero {name}", result, torch.zeros_like(result))
            following = decomposition.decompose(*batch, 0)
            expect.finite("decompose of what follows", following)

    def test_one_signed_gradients(self) -> None:
        for sign in (1.0, -1.0):
            gradient = sign * _random(OUT, IN).abs()
            expect.finite("result", self.decomposition().decompose(None, None, gradient, 0))

    def test_a_single_sample(self) -> None:
        input, delta = _random(1, IN), _random(1, OUT, seed=1)
        expect.finite("result", self.decomposition().decompose(input, delta, delta.T @ input, 0))

    def test_size_does_not_matter(self) -> None:
        if not self.scales:
            return
        for name, (input, delta, gradient) in self.batches().items():
            expected = self.decomposition().decompose(input, delta, gradient, 0)
            for size in (1e-12, 1e12):
                scaled = None if delta is None else delta * size
                found = self.decomposition().decompose(input, scaled, gradient * size, 0) / size
                scale = float(expected.abs().max())
                expect.close(f"{name} × {size:g}", found, expected, rtol=1e-6, atol=1e-6 * scale)

    def test_arguments_are_left_alone(self) -> None:
        for name, batch in self.batches().items():
            self.decomposition().decompose(*batch, 0)
            for part, expected in zip(batch, self.batches()[name], strict=True):
                if part is not None and expected is not None:
                    expect.same(f"{name} given", part, expected)

    def test_nothing_to_differentiate(self) -> None:
        input, delta, gradient = self.batches()["samples"]
        assert input is not None
        result = self.decomposition().decompose(input.requires_grad_(), delta, gradient, 0)
        expect.holds(not result.requires_grad, "no graph behind the result", result.grad_fn)

    def test_any_layout_in_memory(self) -> None:
        for name, batch in self.batches().items():
            turned = _each(lambda part: part.T.clone().T, batch)
            found = self.decomposition().decompose(*turned, 0)
            expected = self.decomposition().decompose(*batch, 0)
            scale = float(expected.abs().max())
            expect.close(name, found, expected, rtol=1e-6, atol=1e-6 * scale)

    def test_same_twice_when_new(self) -> None:
        for name, batch in self.batches().items():
            one, two = (self._run(self.decomposition(), batch) for _ in range(2))
            expect.same(f"results of {name}", one, two)

    def test_saved_and_loaded_in_mid_run(self) -> None:
        for name, batch in self.batches().items():
            decomposition = self.decomposition()
            decomposition.decompose(*batch, "layer.weight")
            other = self.decomposition()
            other.load_state_dict(expect.saved_and_loaded(decomposition.state_dict()))
            twin = copy.deepcopy(decomposition)
            expected = self._run(decomposition, batch)
            expect.same(f"{name} after loading", self._run(other, batch), expected)
            expect.same(f"{name} of a copy", self._run(twin, batch), expected)

    def test_saved_state_is_a_copy(self) -> None:
        batch = self.batches()["samples"]
        decomposition = self.decomposition()
        decomposition.decompose(*batch, "layer.weight")
        state = decomposition.state_dict()
        expected = copy.deepcopy(state)
        self._run(decomposition, batch)
        self._same_state(state, expected)

    def test_reset_forgets(self) -> None:
        for name, batch in self.batches().items():
            decomposition = self.decomposition()
            expected = self._run(decomposition, batch)
            decomposition.reset()
            expect.same(f"{name} after reset", self._run(decomposition, batch), expected)
            if self.forgets:
                expect.same(f"{name} again", self._run(decomposition, batch), expected)

    def test_layers_do_not_know_of_one_another(self) -> None:
        for name, batch in self.batches().items():
            alone, both = self.decomposition(), self.decomposition()
            both.decompose(None, None, _random(5, 6), ("another", 1))
            expect.same(name, self._run(both, batch), self._run(alone, batch))

    def test_prints_itself(self) -> None:
        name = type(self.decomposition()).__name__
        expect.holds(name in repr(self.decomposition()), f"{name!r} in repr", self.decomposition())

    def test_refuses_what_is_not_finite(self) -> None:
        for name, (input, delta, gradient) in self.batches().items():
            for bad in (torch.nan, torch.inf):
                spoilt = gradient.clone()
                spoilt[1, 2] = bad
                decomposition = self.decomposition()
                self._refused(f"{bad} in {name}", decomposition, input, delta, spoilt)
                expect.equal("layers remembered", len(decomposition.state_dict()["memory"]), 0)
        input, delta, gradient = self.batches()["samples"]
        if self.decomposition().streams and input is not None:
            spoilt = torch.full_like(input, torch.nan)
            self._refused("NaN in input", self.decomposition(), spoilt, delta, gradient)

    def test_refuses_other_shapes(self) -> None:
        input, delta, gradient = self.batches()["samples"]
        assert input is not None
        assert delta is not None
        bad: dict[str, Batch] = {
            "a vector": (None, None, gradient[0]),
            "input of other width": (input[:, 1:], delta, gradient),
            "delta of other width": (input, delta[:, 1:], gradient),
            "fewer deltas than inputs": (input, delta[1:], gradient),
            "input without delta": (input, None, gradient),
        }
        for what, batch in bad.items():
            self._refused(what, self.decomposition(), *batch)

    def test_refuses_a_rank_larger_than_the_matrix(self) -> None:
        rank = self.decomposition().rank
        if rank is None:
            return
        gradient = _random(rank - 1, IN) if rank > 1 else torch.zeros(0, IN, dtype=torch.float64)
        self._refused("a rank larger than the matrix", self.decomposition(), None, None, gradient)

    def _run(self, decomposition: Decomposition, batch: Batch) -> Tensor:
        results = [decomposition.decompose(*batch, "layer.weight") for _ in range(3)]
        return torch.stack(results)

    def _refused(self, what: str, decomposition: Decomposition, *batch: Tensor | None) -> None:
        action: Callable[..., object] = decomposition.decompose
        expect.refused(what, lambda: action(*batch, 0))

    def _same_state(self, found: object, expected: object) -> None:
        if isinstance(expected, dict) and isinstance(found, dict):
            expect.equal("names in the state", list(found), list(expected))
            for key, value in expected.items():
                self._same_state(found[key], value)
        elif isinstance(expected, Tensor) and isinstance(found, Tensor):
            expect.same("state saved earlier", found, expected)
        else:
            expect.equal("state saved earlier", found, expected)


def _each(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    input, delta, gradient = batch
    if input is None or delta is None:
        return None, None, function(gradient)
    return function(input), function(delta), function(gradient)


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    source = random.generator(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)
