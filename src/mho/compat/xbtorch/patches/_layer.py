"""What makes a torch layer one of XBTorch's: samples for decompositions, and deployment."""

# mypy: disable-error-code="misc,no-any-return"
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch.deployment.weight_encoding import gamma
from mho.compat.xbtorch.patches import _deployed
from mho.core import random
from mho.decomposition.convolution import convolution_samples, patches
from mho.recurrence.form import Form
from mho.recurrence.runner import run


class CrossbarLayer(nn.Module):
    """Mixed into a torch layer.

    Attributes:
        inference_accelerator: what it is deployed on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_initialized()
        super().__init__(*args, **kwargs)
        self._xb_setup()

    def _xb_setup(self) -> None:
        self._xb_inference = False
        self.inference_accelerator = get_xbtorch_param("inference_accelerator")
        self._xb_samples = get_xbtorch_param("decomposition_algorithm") is not None
        self._xb_programming_seed = getattr(self.inference_accelerator, "programming_seed", 0)
        self._xb_mappings: dict[str, dict[str, Any]] = {name: {} for name in self._xb_names}
        self._xb_found: dict[str, _deployed.Combined] = {}

    @property
    def _xb_names(self) -> list[str]:
        if isinstance(self, nn.RNNBase):
            return [f"weight_{part}" for part in Form.of(self).parts]
        return ["weight"]

    @property
    def _array_mappings(self) -> dict[str, Any]:
        """Where the matrix (of several, the first) is on the chip."""
        return self._xb_mappings[self._xb_names[0]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the torch layer; deployed, through the accelerator."""
        if self._xb_inference:
            return self._xb_forward(*args, **kwargs)
        output = super().forward(*args, **kwargs)
        if self._xb_samples and torch.is_grad_enabled() and isinstance(output, Tensor):
            self._xb_record(args[0] if args else kwargs["input"], output)
        return output

    # ── samples ──────────────────────────────────────────────────────────────────────────────

    def _xb_record(self, x: Tensor, output: Tensor) -> None:
        weight: Any = self.weight
        if not output.requires_grad:
            return

        def keep(grad: Tensor) -> None:
            if isinstance(self, nn.Conv2d):
                found, delta = convolution_samples(self, x.detach(), grad.detach())
            else:
                found, delta = x.detach().flatten(0, -2), grad.detach().flatten(0, -2)
            weight.input, weight.delta = found, delta

        output.register_hook(keep)

    # ── deployment ───────────────────────────────────────────────────────────────────────────

    def _xb_matrix(self, name: str) -> Tensor:
        weight: Tensor = getattr(self, name)
        return weight.detach().flatten(1)

    def _xb_map(self, mode: str, taken: list[Any], args: dict[str, Any]) -> None:
        """Write all matrices to the chip."""
        accelerator: Any = self.inference_accelerator
        for name in self._xb_names:
            weight = self._xb_matrix(name)
            shape = tuple(weight.shape)
            place: Any = accelerator.xb_mapping_scheme
            positive, negative = (
                place(accelerator=accelerator, layer_shape=shape, current_mappings=taken)
                for _ in range(2)
            )
            found: dict[str, Any] = {"Gpos": positive, "Gneg": negative}
            masks = accelerator.map_weights_to_array(
                weight, pos_idxs=positive, neg_idxs=negative, additional_args=args
            )
            found["output_polling_mode"] = mode
            found["gamma"] = gamma(weight)
            if masks[0] is not None:
                found["maskpos"], found["maskneg"] = (mask.unsqueeze(1) for mask in masks)
                found["alpha"] = args.get("alpha", len(masks[0]))
            self._xb_mappings[name] = found
            self._xb_found.pop(name, None)

    def _xb_combined(self, name: str) -> tuple[_deployed.Combined, Tensor]:
        accelerator: Any = self.inference_accelerator
        if accelerator is None:
            raise ValueError(
                "deployed without an accelerator: give initialize an inference_accelerator, and "
                "patch the model again"
            )
        retention = (
            accelerator.retention_time,
            accelerator.drift_coefficient,
            accelerator.drift_t0,
            accelerator.drift_variation,
            accelerator.g_min,
            accelerator.g_max,
        )
        found = self._xb_found.get(name)
        if accelerator.stateful:
            mapping = self._xb_mappings[name]
            if "Gpos" not in mapping:
                raise ValueError("the model is not on the chip: call initialize_array_mappings()")
            chip = accelerator._chip
            source = (chip, chip._version, mapping, retention)
            if found is None or not _same(found.source, source):
                shape = tuple(self._xb_matrix(name).shape)
                found = _deployed.of_chip(accelerator, mapping, shape)  # type: ignore[arg-type]
                found.source = source
                self._xb_found[name] = found
            return found, mapping["gamma"]
        weight = self._xb_matrix(name)
        rest = (
            self._xb_programming_seed,
            accelerator.weight_encoding_scheme,
            accelerator.write_noise,
            retention,
        )
        if (
            found is None
            or found.source[1] != rest
            or found.source[0].device != weight.device
            or not torch.equal(found.source[0], weight)
        ):
            seed = self._xb_programming_seed
            if name != "weight":  # a layer's several matrices are different cells
                seed = random.derive(seed, name)
            found = _deployed.of_cells(accelerator, weight, seed)
            found.source = (weight.clone(), rest)
            self._xb_found[name] = found
        return found, gamma(found.source[0])

    def _xb_read(self, name: str) -> Tensor:
        """Return the combined conductances ``[outputs, inputs]`` of a matrix."""
        return self._xb_combined(name)[0].matrix

    def _xb_product(self, name: str, x: Tensor) -> Tensor:
        combined, largest = self._xb_combined(name)
        return _deployed.product(self.inference_accelerator, combined, largest, x)

    def _xb_forward(self, x: Any, hx: Any = None) -> Any:
        if isinstance(self, nn.RNNBase):
            form = Form.of(self)
            output, state = run(form, x, hx, self._xb_biased, training=self.training)
            return output, form.as_torch(state)
        if isinstance(self, nn.Linear):
            output = self._xb_product("weight", x)
            return output if self.bias is None else output + self.bias
        if isinstance(self, nn.Conv2d):
            return self._xb_convolve(x)
        raise NotImplementedError(f"{type(self).__name__} cannot be deployed")

    def _xb_biased(self, part: str, x: Tensor) -> Tensor:
        """Return a product of a recurrent layer, with its bias, as the runner asks for it."""
        product, bias = self._xb_product(f"weight_{part}", x), getattr(self, f"bias_{part}", None)
        return product if bias is None else product + bias

    def _xb_convolve(self, x: Tensor) -> Tensor:
        layer: Any = self
        batched = x.dim() == 4
        image = x if batched else x.unsqueeze(0)
        under = patches(layer, image)  # [batch, in, *kernel, *out]
        size = under.shape[-2:]
        rows = under.flatten(1, 3).flatten(2).transpose(1, 2)  # [batch, places, in · kernel]
        combined, largest = self._xb_combined("weight")
        if layer.groups == 1:
            output = _deployed.product(self.inference_accelerator, combined, largest, rows)
        else:
            output = torch.cat(
                [
                    _deployed.product(
                        self.inference_accelerator,
                        _deployed.Combined(matrix, noise, None),
                        largest,
                        part,
                    )
                    for matrix, noise, part in zip(
                        combined.matrix.chunk(layer.groups),
                        combined.noise.chunk(layer.groups),
                        rows.chunk(layer.groups, -1),
                        strict=True,
                    )
                ],
                dim=-1,
            )
        if layer.bias is not None:
            output = output + layer.bias
        output = output.transpose(1, 2).unflatten(2, size)
        return output if batched else output.squeeze(0)


def _same(one: Any, other: Any) -> bool:
    return (
        one is not None
        and one[0] is other[0]
        and one[1] == other[1]
        and one[2] is other[2]
        and one[3] == other[3]
    )
