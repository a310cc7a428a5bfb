"""What the tests' own guard of the folder they are run from lets pass."""

from pathlib import Path

import pytest

from clean_folder import FOLDER


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("3"), lambda path: path.open("ab"), lambda path: path.touch(),
])  # fmt: skip
def test_a_test_makes_no_file_where_tests_are_run(make, tmp_path):
    with pytest.raises(PermissionError, match="'3' in the folder that tests are run from"):
        make(Path(FOLDER) / "3")
    assert not (Path(FOLDER) / "3").exists()
    make(tmp_path / "3")


def test_what_is_there_is_read():
    assert all(path.read_bytes() is not None for path in Path(FOLDER).glob("*.toml"))
