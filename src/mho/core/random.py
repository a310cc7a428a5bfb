"""Explicit randomness: seeds, generators and counted streams. There is no global state.

A *stream* is an int64 tensor ``[seed, draws]``. Every random event takes one generator from the
stream, made from both numbers, and moves the count on. So a module's randomness is two integers
in its ``state_dict``: it is saved, copied, moved between devices and resumed like any buffer. Of a
stream on an accelerator reads draw by `mho.core.counted`, which never waits for it.
"""

from __future__ import annotations

import functools
import hashlib
import threading

import numpy as np
import scipy
import torch
from torch import Tensor

from mho.core import checks, counted

_SEED_BITS = 63


def derive(seed: int, *path: int | str) -> int:
    """Return a new seed for a named part of a whole; different paths give unrelated seeds.

    Raises:
        TypeError, ValueError: if ``seed`` is not an integer >= 0.
    """
    text = "/".join(map(str, (checks.integer("seed", seed, least=0), *path)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - _SEED_BITS)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on ``device``, seeded.

    Raises:
        TypeError, ValueError: if ``seed`` is not a non-negative integer below 2**63.
    """
    seed = checked(seed)
    return torch.Generator(device=device).manual_seed(seed)


def checked(seed: object) -> int:
    """Return a seed as Python's integer.

    Raises:
        TypeError, ValueError: if it is not a non-negative integer below 2**63.
    """
    return checks.integer("seed", seed, least=0, most=2**_SEED_BITS - 1)


PURPOSES = ("fabricate", "program", "read")


def streams(seed: int) -> Tensor:
    """Return one stream for each of the ``PURPOSES`` of a chip, ``[purposes, 2]``.

    Raises:
        TypeError, ValueError: if ``seed`` is not a non-negative integer below 2**63.
    """
    seed = checked(seed)
    starts = [[derive(seed, purpose), 0] for purpose in PURPOSES]
    return torch.tensor(starts, dtype=torch.int64, device="cpu")


def stream(seed: int) -> Tensor:
    """Return a new stream ``[seed, 0]``.

    Raises:
        TypeError, ValueError: if ``seed`` is not a non-negative integer below 2**63.
    """
    seed = checked(seed)
    return torch.tensor([seed, 0], dtype=torch.int64, device="cpu")


_taking = threading.Lock()


def take(rng: Tensor, device: torch.device | str) -> torch.Generator:
    """Take the next generator from a stream (and move the stream on, in place).

    Threads that read one chip each get a generator of their own.
    """
    rng = _bare(rng)
    with _taking, torch._C._DisableFuncTorch():
        seed, draws = rng.tolist()
        rng[1] += 1
    return torch.Generator(device).manual_seed(_mix(seed, draws))


def skip(rng: Tensor, draws: int) -> None:
    """Move a stream on as if it had been drawn from so often, in place."""
    if draws:
        _bare(rng)[1] += draws


def _bare(rng: Tensor) -> Tensor:
    """Return a stream as it is outside of transforms of ``torch.func``: these do not own it."""
    while torch._C._functorch.is_functorch_wrapped_tensor(rng):
        rng = torch._C._functorch.get_unwrapped(rng)
    return rng


def _mix(seed: int, draws: int) -> int:
    # splitmix64's finaliser: neighbouring counts give unrelated seeds in under a microsecond.
    z = (seed + (draws + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1


def fork(rng: Tensor | None, device: torch.device) -> Tensor:
    """Return a new stream that goes by the next number of another, and may be read again.

    Args:
        rng: the stream it comes from, which moves on by one; None is torch's own generator (in a
            process group, apart from the other ranks').
        device: where it will draw. Of an accelerator it lives there: the host need not wait.
    """
    if device.type == "cpu":
        source = training_source("cpu") if rng is None else take(rng, "cpu")
        return stream(int(torch.randint(2**62, (), generator=source, device="cpu")))
    if rng is None:
        source = training_source(device)
        seed = torch.randint(2**62, (1,), device=device, generator=source)
        return torch.cat((seed, torch.zeros_like(seed)))
    with _taking, torch._C._DisableFuncTorch():
        return counted.forked(_bare(rng))


def training_source(device: torch.device | str) -> torch.Generator | None:
    """Return where training draws from: torch's own generator (None), as dropout does.

    In a process group of several ranks it is one of the rank's own, seeded by torch's generator and
    the rank: ranks draw apart, also where all of them called ``torch.manual_seed`` alike. (Under
    ``torch.vmap``, which knows no generators, it is torch's own.)

    Args:
        device: of what is drawn.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    if distributed.get_world_size() == 1 or torch.compiler.is_compiling() or _vectorised():
        return None
    # Of the host's generator: nobody waits for an accelerator's.
    seed = int(torch.randint(2**62, (), device="cpu"))
    return torch.Generator(device).manual_seed(_mix(seed, distributed.get_rank()))


def normal(like: Tensor, source: torch.Generator | None) -> Tensor:
    """Draw standard normals, shaped and laid out in memory like a tensor.

    Args:
        like: gives shape, layout, dtype and device.
        source: where they come from; None is torch's own generator.
    """
    # torch fills contiguous memory an order of magnitude faster than strided memory.
    if source is None:
        return _laid_out(torch.randn(like.numel(), dtype=like.dtype, device=like.device), like)
    drawn = torch.empty_like(like)
    drawn.as_strided((drawn.numel(),), (1,)).normal_(generator=source)
    return drawn


def uniform(like: Tensor, source: torch.Generator | None) -> Tensor:
    """Draw from U[0, 1); as `normal`."""
    if source is None:
        return torch.rand(like.shape, dtype=like.dtype, device=like.device)
    return torch.empty_like(like).uniform_(generator=source)


def _laid_out(drawn: Tensor, like: Tensor) -> Tensor:
    # What vmap is to draw anew for every item cannot be drawn in place.
    if like.is_contiguous():
        return drawn.view(like.shape)
    return drawn.as_strided(like.shape, torch.empty_like(like).stride())


_SLICES = 2**16
_PIECE = 2**17
_MARGIN = 2.0**-6
_FEW = 0.1  # of all entries: with more below, drawing in two parts does not pay


@functools.cache
def _slice_means() -> Tensor:
    """Means of the normal distribution over 65 536 equally likely slices, scaled to variance 1."""
    edges = scipy.special.ndtri(np.arange(_SLICES + 1) / _SLICES)
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    means = (density[:-1] - density[1:]) * _SLICES
    return torch.from_numpy(means / means.std()).to(torch.float32)


def quick_normal(like: Tensor, source: torch.Generator | None) -> Tensor:
    """As `normal`, at half the cost where it counts: float32 on a CPU, for noise in bulk.

    Sixteen random bits choose one of 65 536 equally likely values. The distribution function is
    within 2^-17 of the normal's, mean and variance are exact, and nothing lies beyond 4.4 σ.
    """
    count = like.numel()
    if like.dtype != torch.float32 or like.device.type != "cpu" or count < _SLICES:
        return normal(like, source)
    drawn = torch.empty_like(like)
    # Piece by piece in the same small buffers: fresh memory costs more than the drawing.
    bits = torch.empty(_PIECE // 4, dtype=torch.int64, device="cpu")
    index = torch.empty(_PIECE, dtype=torch.int32, device="cpu")
    for piece in drawn.as_strided((count,), (1,)).split(_PIECE):
        bits.random_(-(2**63), None, generator=source)
        index.copy_(bits.view(torch.int16)).bitwise_and_(_SLICES - 1)
        torch.index_select(_slice_means(), 0, index[: len(piece)], out=piece)
    return drawn


def where(mask: Tensor) -> Tensor:
    """Return the positions at which a flat mask is true (int64), as ``mask.nonzero()`` in 1-D."""
    if mask.device.type != "cpu" or torch.compiler.is_compiling():
        return mask.nonzero().squeeze(1)
    # NumPy passes over what is false many entries at a time.
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def words(source: torch.Generator) -> np.random.SFC64:
    """Return random bits in bulk, at half the cost of torch's own, seeded by a draw of these."""
    seed = torch.empty((), dtype=torch.int64, device=source.device).random_(generator=source)
    return np.random.SFC64(int(seed))


def shorts(bits: np.random.SFC64, count: int) -> Tensor:
    """Return integers, all of int16 equally likely, ``[count]``, on the CPU."""
    return torch.from_numpy(bits.random_raw(-(-count // 4)).view(np.int16)[:count])


def below(
    size: Tensor, high: float, source: torch.Generator, spare: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw u from U[0, high) for every entry; tell where it stays below the entry, and u there.

    Where few do, a draw is not made in full: sixteen random bits h of ``u = high (h + l) / 2^16``
    rule most entries out, and l is drawn for the others alone.

    Args:
        size: flat, >= 0.
        high: > 0.
        source: where the draws come from.
        spare: memory to work in, of the kind of ``size``.

    Returns:
        Positions (int64) and draws there, both ``[found]``.
    """
    draw = torch.empty_like(size) if spare is None else spare
    quick = size.dtype == torch.float32 and size.device.type == "cpu" and len(size) >= _SLICES
    if not quick or float(size.sum()) > _FEW * high * len(size):
        draw.uniform_(0.0, high, generator=source)
        index = where(draw < size)
        return index, draw[index]
    unit = _SLICES / high
    bits = words(source)
    places, lines = [], []
    for number, (part, work) in enumerate(zip(size.split(_PIECE), draw.split(_PIECE), strict=True)):
        short = shorts(bits, len(part))  # h - 2^15
        work.copy_(short).sub_(part, alpha=unit)
        # h < size · unit, in single precision and therefore with a margin.
        found = np.flatnonzero(work.numpy() < np.float32(_MARGIN - _SLICES / 2))
        index = torch.from_numpy(found)
        places.append(index + number * _PIECE)
        lines.append(short[index])
    index = torch.cat(places)
    drawn = torch.cat(lines).to(size.dtype).add_(_SLICES / 2)
    drawn.add_(torch.empty_like(drawn).uniform_(generator=source)).div_(unit)
    kept = where(drawn < size[index])
    return index[kept], drawn[kept]


@torch.library.custom_op("mho::normal", mutates_args=("rng",))
def _normal(like: Tensor, rng: Tensor) -> Tensor:
    # One opaque operator, so that a compiled graph draws the same numbers as eager code.
    return quick_normal(like, take(rng, like.device))


def _undrawn(like: Tensor, rng: Tensor | None = None) -> Tensor:
    _refuse_frozen()
    return torch.empty_like(like)


_normal.register_fake(_undrawn)


@torch.library.custom_op("mho::uniform", mutates_args=("rng",))
def _uniform(like: Tensor, rng: Tensor) -> Tensor:
    return uniform(like, take(rng, like.device))


@torch.library.custom_op("mho::exact_normal", mutates_args=("rng",))
def _exact_normal(like: Tensor, rng: Tensor) -> Tensor:
    return normal(like, take(rng, like.device))


_uniform.register_fake(_undrawn)
_exact_normal.register_fake(_undrawn)


def traced(like: Tensor, rng: Tensor, *, kind: str) -> Tensor:
    """Draw from a stream as reads do; in a graph that is traced, too.

    As `normal` or `uniform` from the stream's next generator; of a stream on an accelerator by
    `mho.core.counted`.

    Args:
        like: gives shape, layout, dtype and device.
        rng: the stream.
        kind: ``"normal"`` or ``"uniform"``.
    """
    _refuse_frozen()
    if rng.device.type != "cpu":
        return _counted(like, rng, kind)
    operator = {"normal": _exact_normal, "uniform": _uniform}[kind]
    drawn: Tensor = operator(like, rng)
    return drawn


def _counted(like: Tensor, rng: Tensor, kind: str) -> Tensor:
    draw = {"normal": counted.normal, "uniform": counted.uniform}[kind]
    if torch.compiler.is_compiling():
        return _laid_out(draw(like, rng), like)
    rng = _bare(rng)
    with _taking, torch._C._DisableFuncTorch():
        drawn = draw(torch.empty(like.shape, dtype=like.dtype, device=like.device), rng)
    return _laid_out(drawn, like)


@torch.library.custom_op(
    "mho::torch_normal", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def _torch_normal(like: Tensor) -> Tensor:
    return quick_normal(like, training_source(like.device))


_torch_normal.register_fake(_undrawn)


def normal_like(like: Tensor, rng: Tensor | None) -> Tensor:
    """As `quick_normal`, from the next generator of a stream; works under ``torch.compile``.

    Args:
        like: gives shape, layout, dtype and device.
        rng: the stream; None is torch's own generator, as it is for all under ``torch.vmap``.
    """
    like = like.detach()
    _refuse_frozen()
    if _vectorised():  # its ``randomness`` says what is the same and what is not
        return torch.randn_like(like)
    if rng is not None and rng.device.type != "cpu":
        return _counted(like, rng, "normal")
    if torch.compiler.is_compiling():
        drawn: Tensor = _torch_normal(like) if rng is None else _normal(like, rng)
        return drawn
    source = training_source(like.device) if rng is None else take(rng, like.device)
    return quick_normal(like, source)


def _refuse_frozen() -> None:
    """Refuse to draw for a graph that could only repeat it (ValueError)."""
    onnx = torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()
    if onnx or torch.jit.is_tracing():  # type: ignore[attr-defined]
        raise ValueError(
            "noise cannot be drawn in a traced or an ONNX graph: export mho.noise_free(model) in "
            "eval() (or mho.collapse(model), without converters); torch.export keeps the noise"
        )


def foreseen(device: torch.device) -> bool:
    """Whether what is drawn must have a size that is known before: nobody may look at values.

    So it is on an accelerator, where looking means waiting, and where torch traces or vectorises.

    Args:
        device: of what is drawn.
    """
    return device.type != "cpu" or torch.compiler.is_compiling() or _vectorised()


def _vectorised() -> bool:
    """Whether ``torch.vmap`` is at work, which knows no draws in place."""
    if not torch._C._are_functorch_transforms_active():
        return False
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in stack)
