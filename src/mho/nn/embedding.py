"""Embeddings on crossbars: a lookup drives one word line, a bag several at once.

Off by default in `mho.convert` (``embeddings=True``, or named by ``only``): a lookup in a digital
memory costs next to nothing, and a table on crossbars takes tiles and noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks
from mho.crossbar import lookup
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer

ONE_HOT_AT_ONCE = 1 << 22
"""Inputs of rows made at once (16 MB), where only a read of the whole array will do."""


class _Table(AnalogLayer):
    """Base of `Embedding` and `EmbeddingBag`.

    Attributes:
        weight: digital table ``[num_embeddings, embedding_dim]``.
        crossbar: the cells: ``num_embeddings`` rows; or, where the table is tied to the weight of
            a linear layer, that layer's, whose columns are the entries.
        turned: whether it reads the columns of another layer's crossbar; see `mho.model.tied`.
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    scale_grad_by_freq: bool
    weight: nn.Parameter
    turned: bool = False

    @property
    def in_features(self) -> int:
        """As a linear layer of one-hot inputs would call ``num_embeddings``; for peft."""
        return self.num_embeddings

    @property
    def out_features(self) -> int:
        """Likewise ``embedding_dim``."""
        return self.embedding_dim

    def _tensors(self, digital: nn.Module) -> Sequence[str]:
        trouble = unsuited(digital)
        if trouble:
            raise ValueError(trouble)
        return ("weight",)

    def put_on(self, *args: Any, **settings: Any) -> None:
        """See `AnalogLayer.put_on`: on a crossbar of its own."""
        self.turned = False
        super().put_on(*args, **settings)

    def matrices(self) -> dict[str, Tensor]:
        """The table ``[num_embeddings, embedding_dim]``; its transpose where it is turned."""
        return {"crossbar": self.weight.T if self.turned else self.weight}

    def _seen(self) -> Readout:
        """What this read sees: newly made in training, else what is stored."""
        if self.training:
            return self.training_readout("crossbar", self.matrices()["crossbar"])
        self.warn_if_stale()
        found: Readout = self.crossbars["crossbar"].reader.stored
        return found

    def _corrected(self, y: Tensor) -> Tensor:
        """Apply the output correction of a read of rows; not in training."""
        crossbar = self.crossbars["crossbar"]
        if self.training or not crossbar.reader.corrected:
            return y
        return torch.addcmul(crossbar.offset, y, crossbar.gain)

    def _own(self, y: Tensor) -> Tensor:
        """Return outputs in the dtype of the table."""
        kind = next(self.parameters()).dtype
        return y if y.dtype == kind else y.to(kind)

    def _rows(self, index: Tensor) -> Tensor:
        """Look up ``index [vectors]``: ``[vectors, embedding_dim]``."""
        crossbar = self.crossbars["crossbar"]
        reader = crossbar.reader
        if self.turned:
            y = lookup.columns(reader, index, self._seen(), padding=self.padding_idx)
            # What a column has shrunk by, it has shrunk by in this direction too.
            drifted = reader.corrected and not self.training
            return y * crossbar.gain[index].unsqueeze(1) if drifted else y
        if crossbar.observed:  # calibration watches whole reads
            ones = (x for _, x in self._one_hot(index))
            return torch.cat([crossbar(x) for x in ones]) if index.numel() else self._none()
        seen = self._seen()
        padding, often = self.padding_idx, self.scale_grad_by_freq
        found = lookup.rows(reader, index, seen, padding=padding, by_frequency=often)
        if found is None:
            kind = seen.matrix.dtype
            parts = [reader.read(x.to(kind), seen) for _, x in self._one_hot(index)]
            found = torch.cat(parts) if parts else self._none()
        return self._corrected(found)

    def _none(self) -> Tensor:
        return self.crossbars["crossbar"].scale.new_zeros(0, self.embedding_dim)

    def _one_hot(self, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Make one-hot inputs, so many at once as is bounded."""
        size = self._at_once(len(index))
        g = self.crossbars["crossbar"].scale  # for its dtype and device
        for part in index.split(size) if index.numel() else ():
            x = g.new_zeros(len(part), self.num_embeddings)
            yield part, x.scatter_(1, part.unsqueeze(1), 1.0)

    def _at_once(self, vectors: int) -> int:
        """Return how many vectors are made at once: all where converters follow a whole call."""
        hardware = self.hardware
        if "per_call" in (hardware.drive.range, hardware.adc and hardware.adc.range):
            return max(1, vectors)
        return max(1, ONE_HOT_AT_ONCE // self.num_embeddings)

    def _stored_table(self) -> Tensor:
        """The table as now stored, output correction included."""
        crossbar = self.crossbars["crossbar"]
        matrix = (crossbar.effective_weight * crossbar.gain).detach()
        return (matrix.T if self.turned else matrix + crossbar.offset).contiguous()

    def extra_repr(self) -> str:
        """As the torch layer prints itself."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        return text + (", reads columns" if self.turned else "")


class Embedding(_Table):
    """``y = W[index]`` with ``W`` on a crossbar; takes the place of `torch.nn.Embedding`.

    A lookup drives one word line with 1 and reads all bit lines: a one-hot read, which is worked
    out from the one row that is driven. Each lookup is a vector of its own for the converters.

    Args:
        num_embeddings: entries, the crossbar's rows.
        embedding_dim: numbers of an entry, the crossbar's columns.
        padding_idx: an entry that takes no gradient.
        scale_grad_by_freq: as in torch.
        hardware: what the crossbar is made of.
        seed: of the crossbar.
        device: of the parameter.
        dtype: of the parameter.

    Raises:
        ValueError: of a layer with ``max_norm`` (it rewrites weights at every lookup) or
            ``sparse=True`` (gradients of what is on crossbars are dense).
    """

    kind = nn.Embedding

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        scale_grad_by_freq: bool = False,
        hardware: Hardware,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        scale_grad_by_freq = checks.truth("scale_grad_by_freq", scale_grad_by_freq)
        super().__init__()
        digital = nn.Embedding(
            checks.integer("num_embeddings", num_embeddings),
            checks.integer("embedding_dim", embedding_dim),
            _entry("padding_idx", padding_idx, num_embeddings),
            scale_grad_by_freq=scale_grad_by_freq,
            device=device,
            dtype=dtype,
        )
        self._build(digital, hardware, seed)

    def forward(self, input: Tensor) -> Tensor:
        """Map integers ``[...]`` to ``[..., embedding_dim]``."""
        _indices("input", input)
        return self._own(self._rows(input.reshape(-1))).reshape(*input.shape, self.embedding_dim)

    def to_digital(self) -> nn.Embedding:
        """Return a `torch.nn.Embedding` with the table as now stored."""
        table = self._stored_table()
        layer = nn.Embedding(
            self.num_embeddings,
            self.embedding_dim,
            self.padding_idx,
            scale_grad_by_freq=self.scale_grad_by_freq,
            device="meta",
            dtype=table.dtype,
        )
        layer.weight = nn.Parameter(table)
        return layer.to(self.kind_of_numbers).train(self.training)


class EmbeddingBag(_Table):
    """Sums or means of entries with the table on a crossbar; stands for `torch.nn.EmbeddingBag`.

    A bag is one multi-hot read: every word line is driven with how often its entry is in the bag,
    or with the sum of its weights. The mean is taken digitally. An empty bag gives zeros.

    Args:
        num_embeddings: entries, the crossbar's rows.
        embedding_dim: numbers of an entry, the crossbar's columns.
        mode: ``"mean"`` or ``"sum"``.
        include_last_offset: as in torch.
        padding_idx: an entry that is left out.
        hardware: what the crossbar is made of.
        seed: of the crossbar.
        device: of the parameter.
        dtype: of the parameter.

    Raises:
        ValueError: of a layer with ``mode="max"`` (no crossbar finds maxima of entries),
            ``max_norm`` or ``sparse=True``.
    """

    kind = nn.EmbeddingBag
    mode: str
    include_last_offset: bool

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        mode: str = "mean",
        *,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        hardware: Hardware,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        include_last_offset = checks.truth("include_last_offset", include_last_offset)
        super().__init__()
        checks.one_of("mode", mode, ("mean", "sum"))
        digital = nn.EmbeddingBag(
            checks.integer("num_embeddings", num_embeddings),
            checks.integer("embedding_dim", embedding_dim),
            mode=mode,
            include_last_offset=include_last_offset,
            padding_idx=_entry("padding_idx", padding_idx, num_embeddings),
            device=device,
            dtype=dtype,
        )
        self._build(digital, hardware, seed)

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Map bags to ``[bags, embedding_dim]``.

        Args:
            input: integers ``[bags, entries]``; or ``[entries]`` of all bags.
            offsets: where each bag begins in a flat ``input``.
            per_sample_weights: shaped like ``input``; for mode ``"sum"``.

        Raises:
            TypeError, ValueError: as torch refuses them.
        """
        _indices("input", input)
        index, bag, bags = self._bags(input, offsets)
        g = self.crossbars["crossbar"].scale  # for its dtype and device
        share = g.new_ones(len(index))
        if per_sample_weights is not None:
            if self.mode != "sum":
                raise ValueError(
                    f"per_sample_weights are for EmbeddingBag mode 'sum', got mode {self.mode!r}"
                )
            checks.shape("per_sample_weights", per_sample_weights, tuple(input.shape))
            share = per_sample_weights.reshape(-1).to(g.dtype)
        counted = torch.ones_like(index, dtype=g.dtype)
        if self.padding_idx is not None:
            counted = (index != self.padding_idx).to(g.dtype)
        count = g.new_zeros(bags).index_add(0, bag, counted).unsqueeze(1)
        y = self._multi_hot(index, bag, share * counted, bags)
        if self.mode == "mean":
            y = y / count.clamp(min=1.0)
        return self._own(torch.where(count > 0, y, 0.0))

    def _bags(self, input: Tensor, offsets: Tensor | None) -> tuple[Tensor, Tensor, int]:
        """Return all entries, which bag each is in, and how many bags there are."""
        if input.dim() == 2:
            if offsets is not None:
                raise ValueError("offsets are for a flat input, got one of shape [bags, entries]")
            bags, each = input.shape
            where = torch.arange(bags, device=input.device).repeat_interleave(each)
            return input.reshape(-1), where, bags
        if input.dim() != 1:
            raise ValueError(f"input must be [bags, entries] or flat, got {list(input.shape)}")
        if offsets is None:
            raise ValueError("offsets must be given for a flat input, got None")
        _indices("offsets", offsets)
        starts = offsets[:-1] if self.include_last_offset else offsets
        order = torch.arange(len(input), device=input.device)
        return input, torch.bucketize(order, starts, right=True) - 1, len(starts)

    def _multi_hot(self, index: Tensor, bag: Tensor, share: Tensor, bags: int) -> Tensor:
        crossbar = self.crossbars["crossbar"]
        seen = self._seen()
        plain = crossbar.collapsed and self.hardware.drive.ideal
        if plain and not crossbar.observed:
            entries = F.embedding(index, seen.matrix.squeeze(0)) * share.unsqueeze(1)
            y = entries.new_zeros(bags, self.embedding_dim).index_add(0, bag, entries)
            return self._corrected(y)
        size = self._at_once(bags)
        found = []
        for first in range(0, bags, size):
            some = min(size, bags - first)
            here = (bag >= first) & (bag < first + some)
            place = (bag - first).clamp(0, some - 1)
            x = share.new_zeros(some, self.num_embeddings)
            x = x.index_put((place, index), torch.where(here, share, 0.0), accumulate=True)
            found.append(self._read_bags(x, seen))
        return torch.cat(found) if found else self._none()

    def _read_bags(self, x: Tensor, seen: Readout) -> Tensor:
        crossbar = self.crossbars["crossbar"]
        if crossbar.observed:
            y: Tensor = crossbar(x)
            return y
        return self._corrected(crossbar.reader.read(x.to(seen.matrix.dtype), seen))

    def to_digital(self) -> nn.EmbeddingBag:
        """Return a `torch.nn.EmbeddingBag` with the table as now stored."""
        table = self._stored_table()
        layer = nn.EmbeddingBag(
            self.num_embeddings,
            self.embedding_dim,
            mode=self.mode,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
            device="meta",
            dtype=table.dtype,
        )
        layer.weight = nn.Parameter(table)
        return layer.to(self.kind_of_numbers).train(self.training)

    def extra_repr(self) -> str:
        """As `torch.nn.EmbeddingBag` prints itself."""
        return f"{super().extra_repr()}, mode={self.mode!r}"


def unsuited(digital: nn.Module) -> str | None:
    """Say why an embedding cannot lie on a crossbar as it is; None where it can."""
    if getattr(digital, "max_norm", None) is not None:
        return "max_norm rewrites weights at every lookup"
    if getattr(digital, "sparse", False):
        return "sparse=True: gradients of what is on crossbars are dense"
    if getattr(digital, "mode", None) == "max":
        return "mode='max': a crossbar adds entries"
    return None


def _entry(name: str, value: int | None, count: int) -> int | None:
    """Refuse what is neither None nor one of so many entries, counted from the end if negative."""
    return None if value is None else checks.integer(name, value, least=-count, most=count - 1)


def _indices(name: str, x: Any) -> None:
    if not isinstance(x, Tensor) or x.is_floating_point() or x.dtype == torch.bool:
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a tensor of integers, got {found}")
