"""Files of specs: written whole or not at all, read as people mean them, or refused by name."""

import os
import resource
import signal
import subprocess
import sys

import pytest
import yaml

import mho
from mho.core import checks, files
from mho.core.spec import Spec

CHIP = mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=6), effects=(mho.effects.ReadNoise(0.1),))


def written(folder, text):
    path = folder / "chip.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "chip.yaml"
    mho.save_hardware(CHIP, path)
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["format"] == 1
    first = len(text.splitlines(keepends=True)[0])
    refused = 0
    for cut in range(first, len(text) - 1, 7):
        path.write_text(text[:cut], encoding="utf-8")
        if text[:cut].rstrip().endswith("..."):
            continue
        with pytest.raises((ValueError, TypeError)):
            mho.load_hardware(path)
        refused += 1
    assert refused > 20
    path.write_text(text, encoding="utf-8")
    assert mho.load_hardware(path) == CHIP


def test_files_of_people_and_of_older_versions_need_neither_format_nor_end(tmp_path):
    assert mho.load_hardware(written(tmp_path, "adc: {type: ADC, bits: 6}\n")).adc.bits == 6
    plain = written(tmp_path, yaml.safe_dump(CHIP.to_dict()))
    assert mho.load_hardware(plain) == CHIP


def test_a_newer_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"chip\.yaml: format 2 is not known"):
        mho.load_hardware(written(tmp_path, "format: 2\nadc: null\n...\n"))


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "chip.yaml"
    mho.save_hardware(CHIP, path)
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            mho.save_hardware(mho.Hardware(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["chip.yaml"]


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "chip.yaml"
    code = (
        "import mho, sys\n"
        "hardware = mho.Hardware(adc=mho.ADC(bits=int(sys.argv[2])))\n"
        "for _ in range(100): mho.save_hardware(hardware, sys.argv[1])\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, path, bits]) for bits in "46"]
    assert [one.wait() for one in both] == [0, 0]
    assert mho.load_hardware(path).adc.bits in (4, 6)
    assert len(list(tmp_path.iterdir())) == 1


def test_files_keep_their_mode_and_new_ones_are_for_all_to_read(tmp_path):
    path = tmp_path / "chip.yaml"
    before = os.umask(0o022)
    try:
        mho.save_hardware(CHIP, path)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        mho.save_hardware(CHIP, path)
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        mho.save_hardware(CHIP, tmp_path / "nowhere" / "chip.yaml")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        mho.save_hardware(CHIP, tmp_path)


@pytest.mark.parametrize(("word", "name"), [
    ("010", "ADC bits"), ("1:30", "ADC bits"), ("0x10", "ADC bits"), ("yes", "ADC bits"),
    ("2026-01-01", "ADC bits"), ("1e400", "ADC bits"), ("true", "ADC bits"),
    ("1" + "0" * 400, "ADC bits"),
])  # fmt: skip
def test_what_looks_like_a_number_and_is_none_is_refused_by_file_and_name(tmp_path, word, name):
    path = written(tmp_path, f"adc: {{type: ADC, bits: {word}}}\n")
    with pytest.raises((TypeError, ValueError), match=rf"chip\.yaml: {name} must be"):
        mho.load_hardware(path)


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", '"false"', "1", "0"])
def test_only_true_and_false_are_truth_values(tmp_path, word):
    path = written(tmp_path, f"dac: {{type: DAC, bits: 4, signed: {word}}}\n")
    with pytest.raises(TypeError, match="DAC signed must be bool"):
        mho.load_hardware(path)


@pytest.mark.parametrize(("word", "value"), [
    ("1e-6", 1e-6), ("1.5E-6", 1.5e-6), (".5", 0.5), ("5.", 5.0), ("1_000.5", 1000.5), ("3", 3),
    ("+2.5e+3", 2500.0), ("1e3", 1000.0),
])  # fmt: skip
def test_numbers_as_people_write_them(tmp_path, word, value):
    path = written(tmp_path, f"dac: {{type: DAC, bits: 4, range: {word}}}\n")
    assert mho.load_hardware(path).dac.range == value


def test_what_save_writes_is_read_by_other_readers_too(tmp_path):
    path = tmp_path / "chip.yaml"
    mho.save_hardware(CHIP, path)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    del data["format"]
    assert Spec.from_dict(data) == CHIP


@pytest.mark.parametrize(("text", "said"), [
    ("adc: null\nadc: {type: ADC, bits: 6}\n", "'adc' is given twice"),
    ("adc: {type: ADC, bits: 6, bits: 8}\n", "'bits' is given twice"),
    ("adc: &a {type: ADC, bits: *a}\n", "inside what it stands for"),
    ("a: " + "[" * 200 + "]" * 200, "nested too deeply"),
    ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
    ("--- {}\n--- {}\n", "expected a single document"),
])  # fmt: skip
def test_files_that_mislead_are_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        mho.load_hardware(written(tmp_path, text))


def test_a_file_that_multiplies_itself_is_refused_at_once(tmp_path):
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ValueError, match="more than 1000000 values"):
        mho.load_hardware(written(tmp_path, "\n".join(rows)))


def test_an_alias_is_a_way_to_write(tmp_path):
    text = "device: &d {type: LinearDevice}\nprogramming: null\neffects: []\n"
    assert mho.load_hardware(written(tmp_path, text)).device == mho.devices.LinearDevice()


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"adc: \xff\xfe\n")
    with pytest.raises(ValueError, match=r"chip\.yaml is no text in UTF-8"):
        mho.load_hardware(path)


def test_a_number_that_no_float_holds_names_its_field():
    for value in (10**400, -(10**400)):
        with pytest.raises(ValueError, match="sigma of it must be a number that a float holds"):
            checks.number("sigma of it", value)
        with pytest.raises(ValueError, match="must be a number that a float holds"):
            mho.effects.ReadNoise(value)


def test_drafts_of_several_files_take_their_places_together(tmp_path):
    one, two = tmp_path / "a" / "one.txt", tmp_path / "two.txt"
    with files.drafts(one, two) as (first, second):
        first.write_text("1")
        second.write_text("2")
        assert not one.exists()
        assert not two.exists()
    assert (one.read_text(), two.read_text()) == ("1", "2")

    def fail():
        with files.drafts(one, two) as (first, _):
            first.write_text("3")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert one.read_text() == "1"
    assert len(list(tmp_path.rglob("*.txt"))) == 2


ODD = {
    "int abc": "!!int abc", "no int": '!!int ""', "no truth": "!!bool maybe", "digits": "1" * 5000,
    "no day": "!!timestamp 2026-99-99", "no time": "!!timestamp soon", "object": "!!python/none",
    "key of a list": "{[a]: 1}", "merged": "{<<: {type: ADC}, bits: 4}", "twice": "{a: 1, 'a': 2}",
    "itself": "&a [*a]", "unknown alias": "*b", "second file": "4\n---\n5", "a tab": "{\ta: \x00}",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_refused_by_file(tmp_path, name):
    for text in (f"adc: {ODD[name]}\n", f"adc: {{type: ADC, bits: {ODD[name]}}}\n"):
        with pytest.raises((TypeError, ValueError), match=r"chip\.yaml"):
            mho.load_hardware(written(tmp_path, text))


@pytest.mark.parametrize(("text", "said"), [
    ("1: 2\nfoo: 3\nnull: 4\n", r"no parameter 1, 'foo', None"),
    ("adc: {type: [ADC], bits: 4}\n", r"type of a \w+ must be str"),
    ("adc: {type: {ADC: 1}, bits: 4}\n", r"type of a \w+ must be str"),
    ("type: null\n", "type of a Hardware must be str"),
    ("format: true\n...\n", "format True is not known"),
    ("format: 1.0\n...\n", "format 1.0 is not known"),
])  # fmt: skip
def test_odd_names_are_refused_by_what_they_are(tmp_path, text, said):
    with pytest.raises((TypeError, ValueError), match=rf"chip\.yaml: .*{said}"):
        mho.load_hardware(written(tmp_path, text))


def test_a_mark_of_byte_order_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"\xef\xbb\xbfadc: {type: ADC, bits: 6}\r\n")
    assert mho.load_hardware(path).adc.bits == 6
