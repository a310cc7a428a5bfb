"""Studies that are killed, and processes that share one."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

import mho
from mho.study import sweep
from small_studies import HARDWARE, SPACE, Slow, begun, evaluate, table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*chips failed"),
    pytest.mark.skipif(os.name != "posix", reason="kills by signals, and forks"),
]


def workers_of(process):
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def kill(process, whom, chance):
    """Kill −9 a worker, the parent, or all of a process group."""
    try:
        if whom == "all":
            os.killpg(process.pid, signal.SIGKILL)
        elif whom == "parent":
            os.kill(process.pid, signal.SIGKILL)
        elif workers := workers_of(process):
            chance.choice(workers).kill()
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "times", "trials"), [(".journal", 14, 40), (".db", 6, 12)])
def test_killed_twenty_times_it_gives_the_very_same_table(tmp_path, suffix, times, trials):
    settings = {"chips": 5, "sampler": "random", "trials": trials, "seed": 3}
    expected = table(sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, **settings))
    settings["store"] = tmp_path / f"study{suffix}"
    slow, chance = Slow(0.05, tmp_path / "log"), random.Random(suffix)
    kills, done = 0, False
    while not done:
        process = begun(SPACE, slow, settings)
        while process.is_alive() and kills < times:
            time.sleep(chance.uniform(0.2, 0.6))
            whom = ("worker", "parent", "all")[kills % 3]
            kills += process.is_alive() and (whom != "worker" or bool(workers_of(process)))
            kill(process, whom, chance)
            process.join(0.1)
        process.join(60)
        assert process.exitcode is not None
        done = process.exitcode == 0
    assert kills == times  # of both kinds of store twenty
    found = sweep(SPACE, slow, hardware=HARDWARE, workers=0, **settings)
    assert table(found) == expected


def test_two_that_share_a_study_do_no_chip_twice(tmp_path):
    settings = {"chips": 3, "store": tmp_path / "study.journal"}
    slow = Slow(0.05, tmp_path / "log")
    both = [begun(SPACE, slow, settings) for _ in range(2)]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 36
    found = sweep(SPACE, slow, hardware=HARDWARE, workers=0, **settings)
    alone = sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, chips=3)
    assert table(found) == table(alone)
    assert len((tmp_path / "log").read_text().splitlines()) == 36  # nothing was done again


def test_a_line_that_was_cut_short_is_no_harm(tmp_path):
    store = tmp_path / "study.journal"
    first = sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, store=store)
    whole = store.read_bytes()
    cut = whole.rindex(b"\n", 0, len(whole) - 400) + 20
    store.write_bytes(whole[:cut])  # the disk was full, say, in the middle of a line
    again = sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, store=store)
    assert table(again) == table(first)
    assert b"\n\n" not in store.read_bytes()


class Last:
    """Says when the third chip begins, and goes on for long."""

    def __init__(self, store):
        self.store = str(store)

    def __call__(self, hardware, seed, settings):
        if (hardware.adc.bits, seed) == (5, 0):
            query = "SELECT value_json FROM trial_user_attributes WHERE key LIKE 'part %'"
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as base:
                return len(base.execute(query).fetchall())
        return 0.0


def test_every_chip_is_in_the_store_before_the_next_begins(tmp_path):
    store = tmp_path / "study.db"
    space = {"adc.bits": [4, 5]}
    found = sweep(space, Last(store), hardware=HARDWARE, workers=0, chips=2, store=store)
    assert [r.results["accuracy"] for r in found.records] == [0, 0, 2, 0]


SCRIPT = """
    import os, sys, time
    from concurrent.futures import ThreadPoolExecutor
    import mho
    from mho.core.text import progress
    from mho.study import sweep

    def evaluate(hardware, seed, settings):
        for _ in progress(range(2), "a bar"):
            pass
        print("chip", os.getpid(), flush=True)
        time.sleep(0.2 if hardware.adc.bits == 4 else 60.0)
        return 1.0

    {guard}
        hardware = mho.Hardware(adc=mho.ADC(bits=8))
        sweep({{"adc.bits": [4, 8]}}, evaluate, hardware=hardware, workers=1, store={store!r})
"""


def script(tmp_path, guard):
    path = tmp_path / "script.py"
    store = str(tmp_path / "study.journal")
    path.write_text(textwrap.dedent(SCRIPT).format(guard=guard, store=store))
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(pids):
    """Whether processes end within five seconds."""
    for _ in range(100):
        if not any(psutil.pid_exists(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_interrupted_with_its_workers_it_is_whole(tmp_path):
    process = script(tmp_path, 'if __name__ == "__main__":')
    pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    assert process.pid not in pids
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert "leaked" not in error
    assert ended(pids)

    def evaluate(hardware, seed, settings):
        return 2.0  # what was finished before is kept

    hardware, store = mho.Hardware(adc=mho.ADC(bits=8)), tmp_path / "study.journal"
    found = sweep({"adc.bits": [4, 8]}, evaluate, hardware=hardware, workers=0, store=store)
    assert [r.results["accuracy"] for r in found.records] == [1.0, 2.0]


def test_workers_end_with_the_one_who_began_them(tmp_path):
    process = begun(SPACE, Slow(0.2, tmp_path / "log"), {})
    while len(workers := workers_of(process)) < 2:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.join(10)
    assert ended([worker.pid for worker in workers])


@pytest.mark.slow
def test_a_script_without_its_guard_is_told(tmp_path):
    process = script(tmp_path, "if True:")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'must stand under if __name__ == "__main__"' in errors.splitlines()[-1]
