"""Training on several machines that exchange a gradient's factors instead of the gradient.

::

    model = torch.nn.parallel.DistributedDataParallel(model)
    state = LowRankState(model, TruncatedSVD(4))
    model.register_comm_hook(state, low_rank_hook)
    …                                              # any training loop
    print(state.bytes_sent / state.bytes_full)

or, where every process trains a chip of its own by pulses, what pulses are made of::

    optimizer = PulsedSGD(model, 0.1, device=device, seed=rank)     # or TikiTaka; no DDP
    optimizer.exchange = SharedSamples()
"""

# No postponed annotations here: DDP looks at those of the hook.
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mho.core import checks
from mho.decomposition import Decomposition, Factors


class LowRankState:
    """What `low_rank_hook` decomposes with, remembers and counts, in one process.

    Every process decomposes its own gradients and sends the factors, ``rank · (out + in)`` numbers
    of a weight ``[out, in]`` (kernels of convolutions are matrices ``[out, in · k]``); every
    process then adds up the products of all. Vectors go in full, and so does a matrix whose factors
    would be no smaller, or whose smaller side the rank exceeds.

    What a process's factors leave out it adds to its next gradient, so that nothing is lost for
    good (error feedback: Seide et al. 2014; for low ranks Vogels et al. 2019, arXiv:1905.13727,
    who iterate on factors common to all processes instead of gathering each one's).

    Args:
        model: the model, before or after ``DistributedDataParallel`` has wrapped it.
        decomposition: how gradients are decomposed. The number of factors must follow from a
            gradient's shape. One that streams gets the gradient's rows.
        error_feedback: whether what was left out is added to the next gradient.
        only_if_smaller: whether factors are sent only where they are fewer numbers.
        process_group: the processes; all by default.

    Attributes:
        bytes_sent: handed over by this process for the others, so far.
        bytes_full: the same, had gradients been sent whole.
    """

    def __init__(
        self,
        model: nn.Module,
        decomposition: Decomposition,
        *,
        error_feedback: bool = True,
        only_if_smaller: bool = True,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        checks.instance("model", model, nn.Module)
        checks.instance("decomposition", decomposition, Decomposition)
        self.decomposition = decomposition
        self.error_feedback = checks.truth("error_feedback", error_feedback)
        self.only_if_smaller = checks.truth("only_if_smaller", only_if_smaller)
        self.process_group = process_group
        self.bytes_sent = 0
        self.bytes_full = 0
        self._names = {p: name.removeprefix("module.") for name, p in model.named_parameters()}
        self._residuals: dict[str, Tensor] = {}
        self._whole: set[str] = set()

    def factors(self, parameter: nn.Parameter, gradient: Tensor) -> Factors | None:
        """Return the factors to send for one gradient, or None if it is to be sent in full.

        A gradient that is not finite has factors of NaN: the step shows it in every process, as it
        would without the hook, and nothing is remembered of it.

        Raises:
            ValueError: if the parameter is not the model's.
        """
        if parameter not in self._names:
            raise ValueError("this gradient's parameter is not one of the model given to the state")
        name = self._names[parameter]
        if gradient.dim() < 2 or name in self._whole or self._too_small(gradient):
            return None
        matrix = gradient.flatten(1)
        if self.error_feedback and name in self._residuals:
            matrix = matrix + self._residuals[name].to(matrix)
        finite = bool(torch.isfinite(matrix).all())
        if finite:
            found = self.decomposition.factors(None, None, matrix, name)
        else:  # a copy tells how many factors there would be, without remembering any
            like = copy.deepcopy(self.decomposition)
            found = like.factors(None, None, torch.zeros_like(matrix), name)
        if self.only_if_smaller and found.numel >= matrix.numel():
            self._whole.add(name)  # it follows from the shape, so every process does the same
            return None
        found = Factors(found.left.to(matrix), found.right.to(matrix))
        if not finite:
            return Factors(
                *(torch.full_like(side, torch.nan) for side in (found.left, found.right))
            )
        if self.error_feedback:
            self._residuals[name] = matrix - found.product()
        return found

    def _too_small(self, gradient: Tensor) -> bool:
        rank = self.decomposition.rank
        return rank is not None and rank > min(gradient.flatten(1).shape)

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered and counted, as plain tensors and numbers.

        It is this process's own: to resume exactly, each process saves its own.
        """
        return {
            "decomposition": self.decomposition.state_dict(),
            "residuals": {name: value.clone() for name, value in self._residuals.items()},
            "bytes_sent": self.bytes_sent,
            "bytes_full": self.bytes_full,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Raises:
            ValueError: if something is missing, or is of a parameter that the model does not have.
        """
        missing = {"decomposition", "residuals", "bytes_sent", "bytes_full"} - set(state)
        if missing:
            raise ValueError(f"state must be as state_dict() gives it; {sorted(missing)} missing")
        strangers = sorted(set(state["residuals"]) - set(self._names.values()))
        if strangers:
            raise ValueError(f"state is of another model: it has no parameters {strangers}")
        self.decomposition.load_state_dict(state["decomposition"])
        self._residuals = {name: value.clone() for name, value in state["residuals"].items()}
        self.bytes_sent, self.bytes_full = state["bytes_sent"], state["bytes_full"]


class SharedSamples:
    """Makes pulsed updates on every process's own chip those of all processes' samples.

    Given to a `PulsedSGD` or `TikiTaka` as its ``exchange``. What a weight's update is made of, the
    inputs and errors of its layer, goes to all processes, and every chip receives the pulses of
    all samples; gradients of digital parameters are averaged. Shared are samples alone: each
    process has its own cells, with their own spread, noise, wear and random pulse trains, and
    computes with the weights that these hold. So chips differ, in their weights too; a model
    should not be wrapped in ``DistributedDataParallel``, which would exchange gradients in vain.

    `InSitu` reads ``.grad`` instead: it needs ``DistributedDataParallel`` and nothing else.

    Processes must step together, and give gradients to the same parameters; one that is missing or
    not finite in one of them is passed by in all.

    Args:
        decomposition: what samples are said in before they are sent, ``rank`` outer products
            instead of as many as there are samples; None sends the samples. What it leaves out
            is lost.
        process_group: the processes; all by default.

    Attributes:
        bytes_sent: handed over by this process for the others, so far.
        bytes_full: the same, had gradients been sent whole.
    """

    def __init__(
        self,
        decomposition: Decomposition | None = None,
        *,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if decomposition is not None:
            checks.instance("decomposition", decomposition, Decomposition)
        self.decomposition = decomposition
        self.process_group = process_group
        self.bytes_sent = 0
        self.bytes_full = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedSamples":
        """Return a copy among the same processes."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        group = self.process_group
        for name, value in vars(self).items():
            setattr(twin, name, value if value is group else copy.deepcopy(value, memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """All but the processes: where it is unpickled these are all there are.

        Raises:
            TypeError: if it is of some processes only.
        """
        if self.process_group not in (None, dist.group.WORLD):
            raise TypeError(
                "samples shared by a group of some processes cannot be pickled: the group is this "
                "run's. Save state_dict(), or set exchange=None before and a new one afterwards"
            )
        return {**vars(self), "process_group": None}

    def agreed(self, fit: Sequence[bool], like: Tensor) -> list[bool]:
        """Return which gradients are there and finite in all processes."""
        flags = torch.tensor(fit, dtype=torch.int32, device=like.device)
        dist.all_reduce(flags, dist.ReduceOp.MIN, group=self._group())
        return [bool(flag) for flag in flags.tolist()]

    def samples(self, input: Tensor, delta: Tensor, key: str) -> tuple[Tensor, Tensor]:
        """Return the samples of all processes; their products add up to the mean gradient.

        Args:
            input: inputs of this process ``[samples, in]``; processes may have different numbers.
            delta: errors ``[samples, out]``.
            key: name of the weight.
        """
        group = self._group()
        self.bytes_full += input.shape[1] * delta.shape[1] * input.element_size()
        if self.decomposition is not None:
            gradient = delta.T @ input
            rank = self.decomposition.rank
            if rank is None or rank <= min(gradient.shape):
                found = self.decomposition.factors(input, delta, gradient, key)
                input, delta = found.right.T.to(input), found.left.T.to(delta)
        world = dist.get_world_size(group)
        own = torch.cat((input, delta.to(input) / world), 1)
        self.bytes_sent += own.numel() * own.element_size()
        lengths = list(torch.zeros(world, dtype=torch.int64, device=own.device).split(1))
        dist.all_gather(lengths, torch.tensor([len(own)], device=own.device), group=group)
        counts = [int(length) for length in lengths]
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        everyone = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(everyone, padded, group=group)
        rows = torch.cat([part[:n] for part, n in zip(everyone, counts, strict=True)])
        return rows[:, : input.shape[1]].contiguous(), rows[:, input.shape[1] :].contiguous()

    def mean(self, gradient: Tensor) -> Tensor:
        """Return the mean of all processes' gradients of a digital parameter."""
        group, mean = self._group(), gradient.detach().clone()
        size = mean.numel() * mean.element_size()
        self.bytes_sent, self.bytes_full = self.bytes_sent + size, self.bytes_full + size
        dist.all_reduce(mean, group=group)
        return mean / dist.get_world_size(group)

    def _group(self) -> Any:
        return self.process_group if self.process_group is not None else dist.group.WORLD


@torch.no_grad()
def average_models(optimizer: Any, *, process_group: Any = None) -> None:
    """Put every process's model at the mean of all (federated averaging).

    Digital parameters are averaged as numbers. Weights on cells are read, averaged, and written to
    each chip by pulses and reads from where its cells stand (`WeightCells.program`), which wears it
    and reaches the mean to within a pulse's step.

    Source: H. B. McMahan et al., "Communication-efficient learning of deep networks from
    decentralized data", AISTATS 2017.

    Args:
        optimizer: `PulsedSGD`, `TikiTaka` or `InSitu` of this process.
        process_group: the processes; all by default.

    Raises:
        ValueError: if no cells hold a weight alone; nothing is then changed.
    """
    group = process_group if process_group is not None else dist.group.WORLD
    world = dist.get_world_size(group)
    parameters = [p for each in optimizer.param_groups for p in each["params"]]
    held = [optimizer.cells_of(p) for p in parameters]  # what is refused changes nothing
    for p, cells in zip(parameters, held, strict=True):
        mean = p.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(mean, group=group)
        mean /= world
        if cells is None:
            p.copy_(mean)
        else:
            cells.program(mean.flatten(1).to(cells.cells.g), erase=False)
            optimizer.show(p)


@torch.no_grad()
def low_rank_hook(
    state: LowRankState,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Average gradients over processes by their factors: a communication hook of DDP.

    All processes end up with the same gradients, bit for bit if they compute alike (the same kind
    of processor, as many threads): each adds the same numbers in the same order. To make sure of
    that the hook waits for what it exchanges, which is little, before the backward pass goes on.

    Args:
        state: what to decompose with.
        bucket: gradients of this process.

    Returns:
        The bucket's buffer, holding the averages.
    """
    gradients = bucket.gradients()
    found = [state.factors(p, g) for p, g in zip(bucket.parameters(), gradients, strict=True)]
    whole = [g for g, f in zip(gradients, found, strict=True) if f is None]
    pairs = [(g, f) for g, f in zip(gradients, found, strict=True) if f is not None]
    buffer = bucket.buffer()
    group = state.process_group if state.process_group is not None else dist.group.WORLD
    sent = sum(g.numel() for g in whole) + sum(f.numel for _, f in pairs)
    state.bytes_sent += sent * buffer.element_size()
    state.bytes_full += buffer.numel() * buffer.element_size()
    # Both under way at once, then waited for here: a callback would run on whatever thread, which
    # may sum in another order than the other processes do.
    for pending in (_reduced(whole, group), _gathered(pairs, group)):
        if pending is not None:
            work, finish = pending
            work.wait()
            finish()
    devices = [buffer.device] if buffer.device.type != "cpu" else []
    done: torch.futures.Future[Tensor] = torch.futures.Future(devices=devices)
    done.set_result(buffer)
    return done


Pending = tuple[Any, Callable[[], None]]
"""Work under way, and what is to be done with its result."""


def _reduced(gradients: list[Tensor], group: Any) -> Pending | None:
    """Average gradients as they are."""
    if not gradients:
        return None
    flat = torch.cat([g.flatten() for g in gradients])
    work = dist.all_reduce(flat, group=group, async_op=True)
    world = dist.get_world_size(group)

    def finish() -> None:
        parts = (flat / world).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    return work, finish


def _gathered(pairs: list[tuple[Tensor, Factors]], group: Any) -> Pending | None:
    """Average gradients by everyone's factors."""
    if not pairs:
        return None
    own = torch.cat([side.flatten() for _, f in pairs for side in (f.left, f.right)])
    world = dist.get_world_size(group)
    everyone = list(own.new_empty(world, own.numel()).unbind())
    work = dist.all_gather(everyone, own, group=group, async_op=True)

    def finish() -> None:
        sizes = [side.numel() for _, f in pairs for side in (f.left, f.right)]
        sides = iter(torch.stack(everyone).split(sizes, 1))
        for gradient, factors in pairs:
            left, right = (
                next(sides).reshape(world, -1, factors.rank).transpose(0, 1).flatten(1)
                for _ in range(2)
            )
            gradient.copy_((left @ right.T / world).view_as(gradient))

    return work, finish
