"""CoreMapping: which tile lies on which core, and what follows for time, room and rewriting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mho.chip.cores import Cores, Rewriting, whole
from mho.chip.pipeline import Pipeline, pipeline
from mho.chip.tiles import LayerShape, Tile
from mho.chip.told import told
from mho.core import checks


class Bar(NamedTuple):
    """A core at work: part of a timeline.

    Attributes:
        core: which.
        layer: index of the layer; None where cells are written.
        inference: which; None where cells are written.
        turn: in which.
        start: when it begins (s).
        end: when it is done (s).
    """

    core: int
    layer: int | None
    inference: int | None
    turn: int
    start: float
    end: float


@dataclass(frozen=True)
class MappedLayer:
    """One layer on a chip.

    Attributes:
        shape: what was to be placed.
        copies: how many times it is there; they share its reads.
        time: of one of its reads, on a tile of full width (s).
        cores: how many it takes, all copies together.
        shared: whether other layers lie on some of these.
        stage: how long it works for one inference (s), without waiting for its cores.
        turns: in which it lies there.
        driven: word lines that one read drives, over all its arrays; each as long as an array.
        converted: conversions of one read: bit lines in use, over all its tiles.
    """

    shape: LayerShape
    copies: int
    time: float
    cores: int
    shared: bool
    stage: float
    turns: tuple[int, ...]
    driven: int
    converted: int

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.shape.name

    @property
    def reads(self) -> float:
        """In one inference, over all copies."""
        return self.shape.reads


@dataclass(frozen=True)
class CoreMapping:
    """A network on the cores of a chip; print it.

    What is in it is plain and does not change: it compares and pickles.

    Attributes:
        cores: the chip.
        policy: how tiles were put on cores; see `place`.
        shapes: the layers, in the order in which they are read.
        copies: of every layer.
        tiles: where each tile lies.
        times: of one read of each layer (s), where given instead of the chip's own.
        rewriting: what writing takes, where the network lies there in turns.
    """

    cores: Cores
    policy: str
    shapes: tuple[LayerShape, ...]
    copies: tuple[int, ...]
    tiles: tuple[Tile, ...]
    times: tuple[float | None, ...]
    rewriting: Rewriting | None = None

    # ── room ─────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def turns(self) -> int:
        """How many times the chip is written for one batch; 1 where all lies there at once."""
        return 1 + max(tile.turn for tile in self.tiles)

    @cached_property
    def layers(self) -> tuple[MappedLayer, ...]:
        """The layers, in the order in which they are read."""
        owners: dict[tuple[int, int], set[int]] = {}
        own: list[list[Tile]] = [[] for _ in self.shapes]
        for tile in self.tiles:
            owners.setdefault((tile.turn, tile.core), set()).add(tile.layer)
            own[tile.layer].append(tile)
        return tuple(self._layer(index, tiles, owners) for index, tiles in enumerate(own))

    def _layer(
        self, index: int, tiles: list[Tile], owners: dict[tuple[int, int], set[int]]
    ) -> MappedLayer:
        places = {(tile.turn, tile.core) for tile in tiles}
        first = [tile.piece for tile in tiles if tile.copy == 0]
        turns = tuple(sorted({turn for turn, _ in places}))
        stage = sum(max(self.work[turn][index].values()) for turn in turns)
        widest = max(tile.piece.width for tile in tiles)
        return MappedLayer(
            self.shapes[index],
            self.copies[index],
            self.time(index, widest),
            len(places),
            any(len(owners[place]) > 1 for place in places),
            stage,
            turns,
            sum(piece.height * piece.arrays for piece in first),
            sum(piece.width for piece in first),
        )

    @cached_property
    def cores_used(self) -> int:
        """Cores with anything on them, in the turn that takes most."""
        places = {(tile.turn, tile.core) for tile in self.tiles}
        return max(sum(t == turn for t, _ in places) for turn in range(self.turns))

    @cached_property
    def utilisation(self) -> float:
        """Cells in use over all cells of the chip, in the mean over turns."""
        return sum(tile.cells for tile in self.tiles) / (self.turns * self.cores.cells)

    @cached_property
    def filling(self) -> float:
        """Cells in use over the cells of the cores in use."""
        places = {(tile.turn, tile.core) for tile in self.tiles}
        each = self.cores.cells / self.cores.count
        return sum(tile.cells for tile in self.tiles) / (len(places) * each)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def time(self, layer: int, width: int) -> float:
        """Return how long one read of a layer's tile takes (s), by its bit lines in use."""
        given = self.times[layer]
        return self.cores.time(width) if given is None else given

    def _reads(self, tile: Tile) -> int:
        """Reads of one copy in one inference: the first copies take what is left over."""
        share, rest = divmod(whole(self.shapes[tile.layer].reads), self.copies[tile.layer])
        return share + (tile.copy < rest)

    @cached_property
    def work(self) -> list[list[dict[int, float]]]:
        """By turn and layer, how long each core works for one inference (s)."""
        work: list[list[dict[int, float]]] = [[{} for _ in self.shapes] for _ in range(self.turns)]
        for tile in self.tiles:
            of_layer = work[tile.turn][tile.layer]
            time = self._reads(tile) * self.time(tile.layer, tile.piece.width)
            of_layer[tile.core] = of_layer.get(tile.core, 0.0) + time
        return work

    @cached_property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The schedule of every turn."""
        return tuple(pipeline(layers) for layers in self.work)

    @cached_property
    def interval(self) -> float | None:
        """Time between inferences in the steady state (s); None where it is not known."""
        if self.turns == 1:
            return self.pipelines[0].interval
        return None if self.latency is None else self.latency / self.batch

    @property
    def throughput(self) -> float | None:
        """Inferences in a second; None where it is not known."""
        return None if self.interval is None else 1.0 / self.interval

    @cached_property
    def latency(self) -> float | None:
        """From an inference's input to its output (s); None where it is not known.

        In turns: of a whole batch, writing included.
        """
        if self.turns == 1:
            return self.pipelines[0].latency
        writing = self.rewriting_time
        return None if writing is None else self.reading_time + writing * self.batch

    @cached_property
    def reading_time(self) -> float:
        """Of one batch, without writing (s): every turn's latency and intervals."""
        return sum(p.latency + (self.batch - 1) * p.interval for p in self.pipelines)

    @property
    def batch(self) -> int:
        """Inferences of one batch; 1 where all layers lie there at once."""
        return 1 if self.rewriting is None or self.turns == 1 else self.rewriting.batch

    @cached_property
    def bottleneck(self) -> tuple[str, ...]:
        """Names of the layers on the core that works longest for one inference."""
        best = max(range(self.turns), key=lambda turn: self.pipelines[turn].interval)
        loads = self.pipelines[best].loads
        core = max(loads, key=lambda c: loads[c])
        work = self.work[best]
        return tuple(s.name for s, of in zip(self.shapes, work, strict=True) if core in of)

    @cached_property
    def busy(self) -> float | None:
        """Share of time that the chip's cores are being read, in the steady state."""
        if self.interval is None:
            return None
        work = sum(sum(p.loads.values()) for p in self.pipelines)
        return work / (self.cores.count * self.interval)

    @cached_property
    def converting(self) -> float | None:
        """Share of time that the chip's bit lines are being converted, in the steady state.

        A read of a core takes all its converters, used or not: this is `busy` times how much of a
        core's width is in use.
        """
        if self.interval is None:
            return None
        used = sum(
            self._reads(t) * self.time(t.layer, t.piece.width) * t.piece.width for t in self.tiles
        )
        return used / (self.cores.count * self.cores.cols * self.interval)

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _written(self) -> list[dict[int, list[Tile]]]:
        """By turn and core, the tiles that are written for every batch: where another was."""
        found: list[dict[int, list[Tile]]] = [{} for _ in range(self.turns)]
        for tile in self.tiles:
            found[tile.turn].setdefault(tile.core, []).append(tile)
        often: dict[int, int] = {}
        for cores in found:
            for core in cores:
                often[core] = often.get(core, 0) + 1
        return [{c: tiles for c, tiles in cores.items() if often[c] > 1} for cores in found]

    @cached_property
    def writing_times(self) -> tuple[float | None, ...]:
        """Of every turn, before its reads (s); 0 where nothing is written, None if not known.

        A core is written row by row; so many cores at once as `Rewriting.at_once` says.
        """
        return tuple(self._writing(cores) for cores in self._written)

    def _writing(self, cores: dict[int, list[Tile]]) -> float | None:
        if not cores:
            return 0.0
        if self.rewriting is None or self.rewriting.row_time is None:
            return None
        rows = [sum(t.piece.height * t.piece.arrays for t in tiles) for tiles in cores.values()]
        writers = min(self.rewriting.at_once or len(rows), len(rows))
        return max(max(rows), sum(rows) / writers) * self.rewriting.row_time

    @cached_property
    def cells_written(self) -> int:
        """Cells that are written anew for one batch."""
        return sum(t.cells for cores in self._written for tiles in cores.values() for t in tiles)

    def _per_inference(self, each: float | None) -> float | None:
        if self.cells_written == 0:
            return 0.0
        return None if each is None else self.cells_written * each / self.batch

    @cached_property
    def rewriting_time(self) -> float | None:
        """Time that writing takes for one inference (s); None: not known."""
        times = [time for time in self.writing_times if time is not None]
        return None if len(times) < self.turns else sum(times) / self.batch

    @cached_property
    def rewriting_energy(self) -> float | None:
        """Energy of writing for one inference (J); None: not known."""
        return self._per_inference(None if self.rewriting is None else self.rewriting.cell_energy)

    @cached_property
    def rewriting_pulses(self) -> float | None:
        """Pulses that all cells together receive for one inference; None: not known."""
        return self._per_inference(None if self.rewriting is None else self.rewriting.cell_pulses)

    @cached_property
    def wear(self) -> float | None:
        """Pulses that the cells written most often receive for one inference; None: not known.

        A core counts as written whole in every turn in which something is written to it.
        """
        if self.cells_written == 0:
            return 0.0
        if self.rewriting is None or self.rewriting.cell_pulses is None:
            return None
        often: dict[int, int] = {}
        for cores in self._written:
            for core in cores:
                often[core] = often.get(core, 0) + 1
        return max(often.values()) * self.rewriting.cell_pulses / self.batch

    @property
    def lifetime(self) -> float | None:
        """Inferences until those cells have received what they bear; None: not known, or never."""
        bears = None if self.rewriting is None else self.rewriting.endurance
        return None if bears is None or not self.wear else bears / self.wear

    # ── a timeline ───────────────────────────────────────────────────────────────────────────

    def timeline(self, inferences: int | None = None) -> tuple[Bar, ...]:
        """Return when each core works for which inference.

        Args:
            inferences: how many follow one another at the interval; in turns at most the batch.
                None: three, or the batch.

        Raises:
            TypeError, ValueError: if it is no such number, or the time of writing is not known.
        """
        most = None if self.turns == 1 else self.batch
        if inferences is None:
            return tuple(self._bars(min(3, most or 3)))
        return tuple(self._bars(checks.integer("inferences", inferences, most=most)))

    def _bars(self, count: int) -> Iterator[Bar]:
        now = 0.0
        for turn, flow in enumerate(self.pipelines):
            writing = self.writing_times[turn]
            if writing is None:
                raise ValueError(
                    "a timeline in turns needs Rewriting(row_time=…), the time of writing a row"
                )
            if writing:
                yield from (
                    Bar(c, None, None, turn, now, now + writing) for c in self._written[turn]
                )
            now += writing
            for inference in range(count):
                begin = now + inference * flow.interval
                for layer, starts in enumerate(flow.starts):
                    for core, start in starts.items():
                        end = start + self.work[turn][layer][core]
                        yield Bar(core, layer, inference, turn, begin + start, begin + end)
            now += flow.latency + (self.batch - 1) * flow.interval

    def __str__(self) -> str:
        return told(self)
