"""What is packed, and what its metadata promise."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import typer

import mho
from mho_cli.app import app

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# As it is imported: as it is installed, or what brings it.
INSTALLED = {"sklearn": "scikit-learn", "lm_eval": "lm-eval"}
BROUGHT = {"markupsafe": "jinja2", "sqlalchemy": "optuna"}


def packages(lines):
    """Names of packages of requirements, with those of the extras of mho's own they name."""
    found = set()
    for line in lines:
        name, extra = re.match(r"([\w.-]+)(?:\[([\w-]+)\])?", line).groups()
        if name == "mho":
            found |= packages(PROJECT["optional-dependencies"][extra])
        else:
            found.add(name.lower())
    return found


def asked_for():
    """Every ``need(module, extra)`` with words, as (file, module, extra)."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", None)
            if name == "need" and all(isinstance(a, ast.Constant) for a in node.args):
                yield file.name, *(argument.value for argument in node.args)


def test_extras_have_what_is_asked_of_them():
    core = packages(PROJECT["dependencies"])
    asked = list(asked_for())
    assert len(asked) > 40
    lacking = []
    for file, module, extra in asked:
        package = module.partition(".")[0]
        package = BROUGHT.get(package, INSTALLED.get(package, package.lower()))
        if package not in core | packages(PROJECT["optional-dependencies"][extra]):
            lacking.append((file, module, extra))
    assert not lacking


def test_every_bound_is_a_least_version():
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for line in lines:
            least = re.fullmatch(r"[\w.-]+(\[[\w-]+\])?>=\d[\w.]*", line)
            assert least or line.startswith(("mho[", "types-")), line


def test_extras_are_tried_one_by_one():
    uses = ast.parse((ROOT / "tools" / "packages.py").read_text(encoding="utf-8"))
    (tried,) = [
        ast.literal_eval(node.value)
        for node in uses.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "USES"
    ]
    assert set(tried) == {"", *PROJECT["optional-dependencies"]} - {"dev", "mutants"}


def test_missing_extras_are_tried_of_every_command():
    tried = (ROOT / "tests" / "cli" / "test_extras.py").read_text(encoding="utf-8")
    names = typer.main.get_command(app).commands
    assert len(names) > 7
    assert not [name for name in names if f'"{name} ' not in tried]


def tracked():
    """Files of the checkout that git does not ignore, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode or not (ROOT / ".git").exists():
        pytest.skip("needs a checkout by git, to know which files belong to the project")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_a_wheel_has_all_of_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        about = f"mho-{mho.__version__}.dist-info/"
        names = {name for name in wheel.namelist() if not name.startswith(about)}
        said = Parser().parsestr(wheel.read(f"{about}METADATA").decode())
        assert "mho = mho_cli.app:main" in wheel.read(f"{about}entry_points.txt").decode()
    assert len(names) > 300
    assert {"mho/__init__.py", "mho/py.typed", "mho/citations/papers.bib"} <= names
    assert not [name for name in names if "__pycache__" in name]
    assert said["Version"] == mho.__version__
    assert said["Requires-Python"] == PROJECT["requires-python"]
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    of_the_core = [line for line in said.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(of_the_core) == sorted(PROJECT["dependencies"])
    assert names == {n.removeprefix("src/") for n in tracked() if n.startswith("src/")}


def test_an_sdist_has_all_of_the_project(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"Makefile", "constraints.txt", "CONTRIBUTING.md", "pyproject.toml"} <= names
    assert {"tests/conftest.py", "docs/conf.py", "tools/packages.py"} <= names
    tracked_here = {name for name in tracked() if not name.startswith(".ci/")}
    assert names - {"PKG-INFO"} == tracked_here
