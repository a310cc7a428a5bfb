"""Training data by the numbers of their samples, whatever form they are in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from mho.model.inputs import Suiting, pair_of

BATCH = 64


class Rows:
    """Inputs and targets of chosen samples.

    Args:
        data: a pair of numbers in any form (`mho.model.inputs.pair_of`); a Dataset of such pairs
            whose samples have numbers; or a DataLoader of one, which then says how they are
            collated.
        model: that is to be given them.

    Attributes:
        batch: samples a step, by a DataLoader; else `BATCH`.
        whole: all inputs and targets, where they are tensors; None where a Dataset gives them.

    Raises:
        TypeError: if data are of another kind.
        ValueError: if inputs and targets are not as many, there are none, or a DataLoader has an
            order of its own, which a run that resumes exactly cannot follow.
    """

    def __init__(self, data: Any, model: nn.Module) -> None:
        self.batch = BATCH
        self._collate: Callable[[list[Any]], Any] = default_collate
        self._like = Suiting.of(model)
        self.whole: tuple[Tensor, Tensor] | None = None
        if isinstance(data, DataLoader):
            _refuse_own_order(data)
            self.batch = data.batch_size or BATCH
            self._collate = data.collate_fn
            data = data.dataset
            plain = self._collate is default_collate
        else:
            plain = True
        if isinstance(data, TensorDataset) and plain:  # whose rows need no collating
            data = data.tensors
        if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
            self._dataset: Any = data
            if len(self) == 0:
                raise ValueError("data must hold one sample at least, got none")
        else:
            self.whole = pair_of("data", data, model)

    def __len__(self) -> int:
        return len(self._dataset if self.whole is None else self.whole[0])

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, ``[len(rows), ...]`` each."""
        if self.whole is not None:
            inputs, targets = self.whole
            return inputs[rows], targets[rows]
        found = self._collate([self._dataset[row] for row in rows.tolist()])
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(
                f"data must hold pairs of inputs and targets, got {type(found).__name__}"
            )
        given, wanted = self._like.given, self._like.wanted
        return given("inputs of data", found[0]), wanted("targets of data", found[1])


def _refuse_own_order(loader: DataLoader[Any]) -> None:
    """Refuse a loader that does more than shuffle and batch (ValueError)."""
    sampler = loader.sampler
    usual = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]
    )
    batching = type(getattr(loader, "batch_sampler", None)) is BatchSampler
    if isinstance(loader.dataset, IterableDataset) or not usual or not batching:
        raise ValueError(
            "data must be a DataLoader that shuffles (without replacement) and batches a dataset "
            "with numbered samples: the order is fit's own, so that a run resumes exactly; got one "
            f"with {type(loader.dataset).__name__} and {type(sampler).__name__}"
        )
    if loader.drop_last:
        raise ValueError("data must be a DataLoader with drop_last=False: fit takes all samples")
