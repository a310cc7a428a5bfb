"""Pipelines: closed formulas beside small event-driven simulations."""

import heapq
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.chip import Cores, LayerShape, Rewriting, place
from mho.chip.pipeline import pipeline

times = st.integers(1, 9).map(float)


def simulated(layers, inferences, spacing):
    """Serve inferences one event after the other: a core takes the oldest that waits for it.

    Returns when each inference is done.
    """
    waiting, idle = defaultdict(list), {core: True for work in layers for core in work}
    left, done, events = {}, {}, []
    for n in range(inferences):
        heapq.heappush(events, (n * spacing, 0, n, 0, None))
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            _, _, n, layer, core = heapq.heappop(events)
            if core is not None:
                idle[core] = True
                left[n, layer] -= 1
                if left[n, layer]:
                    continue
                layer += 1
            while layer < len(layers) and not layers[layer]:
                layer += 1
            if layer == len(layers):
                done[n] = now
                continue
            left[n, layer] = len(layers[layer])
            for c in layers[layer]:
                heapq.heappush(waiting[c], (n, -layer))
        for core in idle:
            if idle[core] and waiting[core]:
                n, layer = heapq.heappop(waiting[core])
                idle[core] = False
                heapq.heappush(events, (now + layers[-layer][core], 1, n, -layer, core))
    return [done[n] for n in range(inferences)]


@st.composite
def apart(draw):
    """Layers on cores of their own."""
    layers, core = [], 0
    for _ in range(draw(st.integers(1, 6))):
        width = draw(st.integers(1, 3))
        layers.append({core + k: draw(times) for k in range(width)})
        core += width
    return layers


shared = st.lists(
    st.dictionaries(st.integers(0, 4), times, min_size=1, max_size=3), min_size=1, max_size=7
)


@given(apart())
def test_layers_apart_are_a_plain_pipeline(layers):
    found = pipeline(layers)
    stages = [max(work.values()) for work in layers]
    assert found.latency == pytest.approx(sum(stages))
    assert found.interval == max(stages)
    done = simulated(layers, 30, 0.0)
    assert done[0] == pytest.approx(found.latency)
    steps = [b - a for a, b in pairwise(done)]
    assert steps == pytest.approx([found.interval] * 29)
    spaced = simulated(layers, 10, found.interval)
    assert spaced == pytest.approx([found.latency + n * found.interval for n in range(10)])


@settings(max_examples=150)
@given(shared)
def test_shared_cores_reach_the_interval_and_no_shorter_one(layers):
    found = pipeline(layers)
    count = 300
    done = simulated(layers, count, 0.0)
    assert max(done) >= count * found.interval  # no core works more than all the time
    half = max(done[: count // 2])
    assert (max(done) - half) / (count - count // 2) == pytest.approx(found.interval, rel=0.06)


@settings(max_examples=150)
@given(shared)
def test_slots_never_overlap_and_layers_follow_one_another(layers):
    found = pipeline(layers)
    busy = defaultdict(list)
    ready = 0.0
    for work, starts, end in zip(layers, found.starts, found.ends, strict=True):
        assert min(starts.values()) >= ready - 1e-9
        # Nothing waits longer than for the next slot of its core.
        assert max(starts.values()) < ready + found.interval - 1e-9
        ready = max(starts[core] + time for core, time in work.items())
        assert ready == pytest.approx(end)
        for core, time in work.items():
            for n in range(30):
                start = starts[core] + n * found.interval
                busy[core].append((start, start + time))
    assert found.latency == pytest.approx(ready)
    assert found.latency >= sum(max(work.values()) for work in layers) - 1e-9
    for spans in busy.values():
        spans.sort()
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))


def test_a_layer_waits_for_its_slot_of_a_shared_core():
    # Core 0 works 3.5 s for each inference: 0 to 2 on the first layer, 2 to 3.5 on the third, which
    # is ready at 5 and so takes the slot from 5.5 on; that at 2 serves the inference before.
    found = pipeline([{0: 2.0}, {1: 3.0}, {0: 1.5}])
    assert found.interval == 3.5
    assert found.loads == {0: 3.5, 1: 3.0}
    assert found.starts == ({0: 0.0}, {1: 2.0}, {0: 5.5})
    assert found.ends == (2.0, 5.0, 7.0)
    assert found.latency == 7.0


def test_times_of_a_mapping_by_hand():
    chip = Cores(count=8, rows=16, cols=16, arrays=2, read_time=1.0)
    found = [
        LayerShape("a", 16, 16, reads=10.0),
        LayerShape("b", 32, 16, reads=4.0),
        LayerShape("c", 8, 16, reads=1.0),
        LayerShape("d", 8, 16, reads=3.0),
    ]
    mapping = place(found, chip)
    assert mapping.cores_used == 4
    assert [layer.stage for layer in mapping.layers] == [10.0, 4.0, 1.0, 3.0]
    assert [layer.shared for layer in mapping.layers] == [False, False, True, True]
    assert (mapping.interval, mapping.latency) == (10.0, 18.0)
    assert mapping.bottleneck == ("a",)
    assert mapping.busy == pytest.approx((10 + 4 + 4 + 4) / (8 * 10))
    assert mapping.converting == mapping.busy
    assert mapping.utilisation == pytest.approx(4 / 8)
    assert mapping.filling == 1.0
    copied = place(found, chip, copies="balanced")
    assert copied.copies == (3, 1, 1, 1)
    assert copied.interval == 4.0  # b, and c together with d, need as long


def test_a_timeline_is_the_schedule():
    chip = Cores(count=2, rows=16, cols=16, arrays=1, read_time=1.0)
    found = [LayerShape(n, 16, 16, reads=r, arrays=(1,)) for n, r in (("a", 2.0), ("b", 3.0))]
    bars = place(found, chip).timeline(2)
    assert [(b.core, b.layer, b.inference, b.start, b.end) for b in bars] == [
        (0, 0, 0, 0.0, 2.0), (1, 1, 0, 2.0, 5.0), (0, 0, 1, 3.0, 5.0), (1, 1, 1, 5.0, 8.0)
    ]  # fmt: skip
    turns = Rewriting(batch=2, row_time=0.5)
    mapping = place(found, chip.replace(count=1), turns=turns)
    bars = mapping.timeline()
    assert [(b.layer, b.turn, b.start, b.end) for b in bars] == [
        (None, 0, 0.0, 8.0), (0, 0, 8.0, 10.0), (0, 0, 10.0, 12.0),
        (None, 1, 12.0, 20.0), (1, 1, 20.0, 23.0), (1, 1, 23.0, 26.0),
    ]  # fmt: skip
    assert mapping.latency == 26.0
    assert mapping.interval == 13.0
