"""Who evaluates is all the same: processes, threads, Dask, Ray; machines that share a database."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from mho.study import RayExecutor, sweep
from small_studies import FORK, HARDWARE, SPACE, Slow, begun, evaluate, table

pytestmark = pytest.mark.filterwarnings("ignore:.*chips failed")


@pytest.fixture(scope="module")
def expected():
    return table(sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, chips=2))


class Where:
    """The same numbers, and the process that found them."""

    def __call__(self, hardware, seed, settings):
        return {"accuracy": evaluate(hardware, seed, settings), "process": os.getpid()}


def split(outcome):
    """Return the table, and the processes that found it."""
    rows, processes = [], set()
    for trial, seed, settings, results, error in table(outcome):
        if results:
            processes.add(results.pop("process"))
        rows.append((trial, seed, settings, results, error))
    return rows, processes


def run(**settings):
    return split(sweep(SPACE, Where(), hardware=HARDWARE, chips=2, **settings))


def test_threads(expected):
    with ThreadPoolExecutor(3) as pool:
        found, processes = run(executor=pool)
        assert pool.submit(int, "3").result() == 3  # it stays open
    assert found == expected
    assert processes == {os.getpid()}


@pytest.mark.slow
def test_processes_are_the_default(expected):
    found, processes = run(workers=2)
    assert found == expected
    assert os.getpid() not in processes
    assert len(processes) <= 2


class Deadly:
    """Kills its process at one chip, as a system out of memory does."""

    def __call__(self, hardware, seed, settings):
        if (hardware.adc.bits, settings["array.wires.word"], seed) == (6, 0.5, 0):
            os.kill(os.getpid(), 9)
        return evaluate(hardware, seed, settings)


def test_a_chip_that_kills_its_worker_is_recorded_and_the_rest_goes_on(expected):
    def pool():
        return ProcessPoolExecutor(2, mp_context=FORK)

    found = table(sweep(SPACE, Deadly(), hardware=HARDWARE, chips=2, executor=pool))
    dead = [row for row in found if row[4] and "died" in row[4]]
    assert [(row[1], row[2]["adc.bits"]) for row in dead] == [(0, 6)] * 2  # two of stuck cells
    assert "its worker died, twice" in dead[0][4]
    killed = [row[:3] for row in dead]
    assert [row for row in found if row not in dead] == [
        row for row in expected if row[:3] not in killed
    ]


def test_a_broken_executor_that_cannot_be_replaced_is_told(tmp_path):
    with (
        ProcessPoolExecutor(2, mp_context=FORK) as pool,
        pytest.raises(RuntimeError, match="give a function that makes one"),
    ):
        sweep(SPACE, Deadly(), hardware=HARDWARE, executor=pool, store=tmp_path / "s.journal")


def test_what_cannot_be_sent_is_refused_before_anything_begins():
    lock = FORK.Lock()
    with pytest.raises(TypeError, match="evaluate must be one that can be pickled"):
        sweep(SPACE, lambda h, s, t: lock and 1.0, hardware=HARDWARE, workers=2)


class Foreign:
    """What workers do not know how to build."""

    def __call__(self, hardware, seed, settings):
        return 1.0

    def __reduce__(self):
        return _built, (os.getpid(),)


def _built(home):
    if os.getpid() != home:
        raise ImportError("No module named 'mine'")
    return Foreign()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_that_cannot_begin_are_no_failures_of_chips(tmp_path):
    store = tmp_path / "s.journal"
    with (
        ProcessPoolExecutor(2, mp_context=FORK) as pool,
        pytest.raises(RuntimeError, match="workers cannot begin"),
    ):
        sweep(SPACE, Foreign(), hardware=HARDWARE, executor=pool, store=store)
    found = sweep(SPACE, Foreign(), hardware=HARDWARE, workers=0, store=store)
    assert [r.error for r in found.records] == [None] * 12


def test_lambdas_and_closures_are_sent():
    third = 1 / 3
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        found = sweep(SPACE, lambda h, s, t: third * s, hardware=HARDWARE, chips=2, executor=pool)
    assert [r.results["accuracy"] for r in found.records] == [0.0, third] * 12


@pytest.mark.slow
def test_dask(expected):
    distributed = pytest.importorskip("distributed")
    where = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**where) as cluster, distributed.Client(cluster) as client:
        found, processes = run(executor=client.get_executor(), workers=2)
    assert found == expected
    assert os.getpid() not in processes
    assert len(processes) == 2


@pytest.mark.slow
def test_ray(expected, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    where = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    ray.init(num_cpus=2, runtime_env=where, **quiet)
    try:
        found, processes = run(executor=RayExecutor(num_cpus=1), workers=2)
    finally:
        ray.shutdown()
    assert found == expected
    assert os.getpid() not in processes


@pytest.fixture
def database():
    """A PostgreSQL server of its own, that listens to a socket in a folder."""
    pytest.importorskip("psycopg")
    places = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    places = [Path(place) for place in places if place]
    if not places:
        pytest.skip("PostgreSQL is not installed (initdb)")
    # Of a short name: a socket's path has at most 107 characters.
    folder, user = Path(tempfile.mkdtemp(prefix="mho-pg-")), None
    if os.getuid() == 0:  # as which it refuses to run
        names = [name.pw_name for name in pwd.getpwall() if name.pw_name in ("postgres", "nobody")]
        if not names:
            pytest.skip("PostgreSQL does not run as root, and there is no other user")
        user = names[-1]
        shutil.chown(folder, user)

    def server(program, *arguments):
        command = [str(places[0].parent / program), *map(str, arguments)]
        subprocess.run(command, check=True, user=user, capture_output=True, cwd=folder)

    data = folder / "data"
    server("initdb", "-D", data, "-U", "mho", "-A", "trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    server("pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
    yield f"postgresql://mho@/postgres?host={folder}"
    server("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_two_share_a_postgresql_database(expected, database, tmp_path):
    slow = Slow(0.02, tmp_path / "log")
    settings = {"chips": 2, "store": database}
    both = [begun(SPACE, slow, settings) for _ in range(2)]
    for process in both:
        process.join(90)
        assert process.exitcode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 24
    found = sweep(SPACE, slow, hardware=HARDWARE, workers=0, **settings)
    assert table(found) == expected
    with pytest.raises(ValueError, match=r"postgresql.*holds another study"):
        sweep(SPACE, evaluate, hardware=HARDWARE, workers=0, **settings)
