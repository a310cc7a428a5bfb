"""Notebooks, and scripts made of them, run as programs."""

import importlib.util
import json
import linecache
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mho
from mho.compat import notebooks
from mho.compat.notebooks import Shell, blocks_of

NOTEBOOK = """\
%matplotlib inline
!pip install memtorch-cpu
%cd MemTorch
import math
if True:
    !git clone https://example.org
    x = 2
%time y = x + 1
x?
"""


@pytest.fixture(autouse=True)
def without_ipython():
    """Take away again what stands in for IPython in this process."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "IPython":
            del sys.modules[name]


def python_of(path, text):
    return "\n".join(block.python for block in blocks_of(path, text))


def run(source, said):
    names = {}
    shell = Shell(names, said.append)
    exec(compile(source, "script.py", "exec"), {**names, "get_ipython": lambda: shell}, names)
    return names


def test_notebook_lines_are_skipped_with_a_remark():
    said = []
    source = python_of("script.py", NOTEBOOK)
    assert len(source.splitlines()) == len(NOTEBOOK.splitlines())
    names = run(source, said)
    assert names["y"] == 3
    assert said == [
        "skipped %cd MemTorch",
        "skipped the shell command: git clone https://example.org",
    ]


def test_lines_that_only_look_like_magics_are_left():
    said = []
    source = python_of(
        "script.py", '%matplotlib inline\ny = (\'%d %d\'\n  % (1, 2))\ntext = """\n!ls\n"""\n'
    )
    names = run(source, said)
    assert (names["y"], names["text"], said) == ("1 2", "\n!ls\n", [])


def test_exports_call_get_ipython():
    said = []
    source = python_of(
        "script.py",
        "get_ipython().run_line_magic('matplotlib', 'inline')\n"
        "get_ipython().system('nvidia-smi')\n"
        "get_ipython().run_cell_magic('bash', '', 'ls')\n"
        "files = get_ipython().getoutput('ls')\n",
    )
    assert run(source, said)["files"] == []
    assert said == [
        "skipped the shell command: nvidia-smi",
        "skipped a cell: %%bash",
        "skipped the shell command: ls",
    ]


def test_plain_python_is_left_as_it_is():
    source = "x = 5\nx %= 3\ntext = '''\n%matplotlib\n!ls\n'''\n"
    assert python_of("script.py", source) == source


def test_a_notebook_is_its_code_cells(tmp_path):
    def cell(kind, source):
        return {"cell_type": kind, "source": source.splitlines(keepends=True)}

    cells = [
        cell("markdown", "# Title"),
        cell("code", "%%time\nx = 1\n%matplotlib inline"),
        cell("code", "%%bash\nls"),
        cell("code", "y = x + 1"),
    ]
    said = []
    names = run(python_of("book.ipynb", json.dumps({"cells": cells})), said)
    assert names["y"] == 2
    assert said == ["skipped a cell: %%bash"]
    with pytest.raises(ValueError, match=r"book\.ipynb is not a Jupyter notebook"):
        python_of("book.ipynb", "[]")


def test_errors_stay_errors():
    with pytest.raises(SyntaxError):
        python_of("script.py", "%matplotlib inline\nx = = 1\n")


def notebook(folder, *cells):
    """Write a notebook of code cells; return its path."""
    found = [{"cell_type": "code", "source": text.splitlines(keepends=True)} for text in cells]
    path = folder / "book.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# T"}, *found]}))
    return path


def python(*arguments, cwd, **env):
    here = {"PYTHONPATH": str(Path(mho.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **here, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_errors_point_at_the_line_of_the_cell(tmp_path):
    notebook(
        tmp_path,
        "%matplotlib inline\nimport memtorch",
        "%%time\n\ndef halve(x):\n    return x / 0\n",
        "!echo a \\\n  b\nhalve(1)",
    )
    done = python("-m", "mho.compat", "book.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.strip(" ~^")]
    assert lines[-5:] == [
        '  File "book.ipynb, cell 3", line 3, in <module>',
        "    halve(1)",
        '  File "book.ipynb, cell 2", line 4, in halve',
        "    return x / 0",
        "ZeroDivisionError: division by zero",
    ]
    assert "mho.compat: skipped the shell command: echo a b" in done.stderr
    assert os.path.dirname(notebooks.__file__) not in done.stderr


def test_an_exported_script_keeps_its_lines(tmp_path):
    (tmp_path / "export.py").write_text("%load_ext x\n!pip install \\\n  memtorch\n1 / 0\n")
    done = python("-m", "mho.compat", "export.py", cwd=tmp_path)
    assert 'export.py", line 4, in <module>\n    1 / 0' in done.stderr
    (tmp_path / "export.py").write_text("%matplotlib inline\nx = = 1\n")
    done = python("-m", "mho.compat", "export.py", cwd=tmp_path)
    assert done.stderr.startswith('  File "')
    assert 'export.py", line 2\n    x = = 1\n' in done.stderr


def test_functions_of_cells_have_their_source(tmp_path):
    names = {}
    path = str(notebook(tmp_path, "x = 1", "%%time\ndef f():\n    return 7\n"))
    notebooks.run(blocks_of(path, Path(path).read_text()), names)
    import inspect

    assert inspect.getsource(names["f"]) == "def f():\n    return 7\n"
    assert linecache.getline(f"{path}, cell 1", 1) == "x = 1\n"


def test_cells_capture_display_and_answer(tmp_path, capsys):
    names = {}
    cells = ("%%capture out\nprint('kept')", "display(out.stdout)", "files = !ls\n", "y = %time 3")
    path = str(notebook(tmp_path, *cells, "%timeit -n 1 -r 1 print('timed')"))
    notebooks.run(blocks_of(path, Path(path).read_text()), names)
    assert names["files"] == []
    assert names["y"] == 3
    assert capsys.readouterr().out == "kept\n\ntimed\n"


def test_the_last_value_of_a_cell_is_shown(tmp_path, capsys):
    names = {}
    path = str(notebook(tmp_path, "x = 3\nx + 1", "_ * 2;", "_\n# a remark", "None", "x = _"))
    notebooks.run(blocks_of(path, Path(path).read_text()), names)
    assert capsys.readouterr().out == "4\n4\n"
    assert names["x"] == 4


def test_a_captured_cell_shows_what_it_kept(tmp_path, capsys):
    cell = "%%capture out\nimport sys\nprint('kept')\nprint('too', file=sys.stderr)\n7"
    path = str(notebook(tmp_path, cell, "print('first')", "out.show()"))
    notebooks.run(blocks_of(path, Path(path).read_text()), {})
    told = capsys.readouterr()
    assert (told.out, told.err) == ("first\nkept\n7\n", "too\n")


def test_the_cells_above_an_odd_line_run(tmp_path):
    notebook(tmp_path, "print('above')", "y = 1\nx = = 1", "print('below')")
    done = python("-m", "mho.compat", "book.ipynb", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "above\n")
    assert done.stderr.startswith('  File "book.ipynb, cell 2", line 2\n    x = = 1\n')


def test_other_programs_run_inside(tmp_path):
    (tmp_path / "other.py").write_text("import sys\n%time shared = base + 1\nprint(sys.argv)\n")
    notebook(
        tmp_path, "import sys\nbase = 1\n%run other.py 3 -b 2", "%run -i other\nsys.argv", "shared"
    )
    done = python("-m", "mho.compat", "book.ipynb", "x", cwd=tmp_path)
    own, inner = ["book.ipynb", "x"], ["other.py", "3", "-b", "2"]
    assert done.stdout.splitlines() == [str(inner), "['other.py']", str(own), "2"], done.stderr


IPYTHON = """
import IPython, IPython.display as shown
from IPython import display as place, get_ipython
from IPython.core.display import HTML
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image, Markdown, clear_output, display
InteractiveShell.ast_node_interactivity = "all"
import matplotlib.pyplot as plt
from tqdm.auto import tqdm
clear_output(wait=True)
place.display(Markdown("**bold**"), HTML(data="<b>"), Image(filename="a.png"))
display(shown is place)
get_ipython().run_line_magic("matplotlib", "inline")
"""


def test_what_notebooks_import_from_ipython(tmp_path):
    pytest.importorskip("matplotlib")
    if importlib.util.find_spec("IPython") is not None:
        pytest.skip("IPython is installed")
    notebook(tmp_path, IPYTHON)
    (tmp_path / "export.py").write_text("# In[1]:\n" + IPYTHON)
    for name in ("book.ipynb", "export.py"):
        done = python("-m", "mho.compat", name, cwd=tmp_path)
        assert done.stdout == "**bold**\n<b>\na.png\nTrue\n", done.stderr
    (tmp_path / "script.py").write_text("import IPython\n")
    assert "ModuleNotFoundError" in python("-m", "mho.compat", "script.py", cwd=tmp_path).stderr


def test_what_a_cell_writes_can_be_imported(tmp_path):
    notebook(tmp_path, "%%writefile mine.py\nvalue = 7", "import mine\nmine.value")
    (tmp_path / "elsewhere").mkdir()
    done = python("-m", "mho.compat", "../book.ipynb", cwd=tmp_path / "elsewhere")
    assert done.stdout == "7\n", done.stderr


def test_pictures_end_with_their_cell(tmp_path):
    pytest.importorskip("matplotlib")
    notebook(tmp_path, "import matplotlib.pyplot as plt\nplt.plot([1]);", "len(plt.get_fignums())")
    assert python("-m", "mho.compat", "book.ipynb", cwd=tmp_path).stdout == "0\n"


def test_future_imports_hold_below_and_only_where_they_stand(tmp_path):
    names = {}
    path = str(
        notebook(tmp_path, "from __future__ import annotations", "def f(x: unknown):\n    pass")
    )
    notebooks.run(blocks_of(path, Path(path).read_text()), names)
    assert names["f"].__annotations__ == {"x": "unknown"}
    notebooks.run(blocks_of("script.py", "def g(x: int):\n    pass\n"), names)
    assert names["g"].__annotations__ == {"x": int}


def test_what_python_can_do_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MHO_TEST", "")
    (tmp_path / "inner").mkdir()
    said = []
    shell = Shell({}, said.append)
    shell.run_cell_magic("writefile", "beside.py", "value = 7\n")
    shell.run_cell_magic("writefile", "-a beside.py", "other = 8\n")
    shell.run_line_magic("env", "MHO_TEST=3")
    shell.run_line_magic("cd", "inner")
    shell.run_line_magic("pip", "install xbtorch")
    assert Path("../beside.py").read_text() == "value = 7\nother = 8\n"
    assert shell.run_line_magic("pwd") == os.getcwd()
    assert os.environ["MHO_TEST"] == "3"
    assert Path.cwd() == tmp_path / "inner"
    assert said == []


PICTURES = """
import matplotlib.pyplot as plt
from tqdm.notebook import tqdm, trange
for _ in tqdm(range(2)):
    plt.plot([1, 2])
    plt.show()
print(list(trange(2)), len(plt.get_fignums()))
"""


@pytest.mark.parametrize("magic", ["", "%matplotlib inline"])
def test_pictures_neither_warn_nor_block(tmp_path, magic):
    pytest.importorskip("matplotlib")
    notebook(tmp_path, magic + PICTURES)
    for name, shown in (("book.ipynb", "0"), ("script.py", "")):
        (tmp_path / "script.py").write_text(PICTURES)
        done = python("-m", "mho.compat", name, cwd=tmp_path, DISPLAY="")
        assert done.stdout.startswith(f"[0, 1] {shown}"), done.stderr
        assert "Warning" not in done.stderr


WORKERS = """
import multiprocessing, memtorch
from concurrent.futures import ProcessPoolExecutor
SCALE = 2.0
def trial(x):
    return SCALE * x, __name__, memtorch.__name__
print("once")
for how in ("fork", "spawn"):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(how)) as pool:
        print(list(pool.map(trial, [1])))
"""


def test_workers_of_a_notebook_have_its_functions(tmp_path):
    above = "%matplotlib inline\ntwo = len('ab')\ndef f(x=two): pass"
    notebook(tmp_path, above, WORKERS, "print('here')\nx = = 1")
    done = python("-m", "mho.compat", "book.ipynb", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "once",
        "[(2.0, '__main__', 'mho.compat.memtorch')]",
        "[(2.0, '__mp_main__', 'mho.compat.memtorch')]",
    ], done.stderr
    assert done.returncode == 1


def test_workers_of_an_export_run_it_again_behind_its_guard(tmp_path):
    guarded = WORKERS.replace('print("once")\n', 'if __name__ == "__main__":\n  print("once")\n')
    guarded = guarded.replace("\nfor how", "\n  for how").replace("\n    with", "\n   with")
    (tmp_path / "export.py").write_text("%matplotlib inline\n%time x = 1" + guarded)
    done = python("-m", "mho.compat", "export.py", cwd=tmp_path)
    assert done.stdout.count("once") == 1, done.stderr
    assert "'__mp_main__', 'mho.compat.memtorch'" in done.stdout, done.stderr
