"""atomic_folder: complete or absent, wherever it is interrupted or killed; manifests name what is damaged."""

import errno
import json
import os
import sys

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils import folders
from ernie_from_scratch.utils.checksums import check_manifest, write_manifest
from ernie_from_scratch.utils.folders import atomic_folder, remove_stale_folders

OLD, NEW = {"a.txt": "old"}, {"a.txt": "new", "sub/b.txt": "new"}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder):
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


def write(target):
    with atomic_folder(target, replace=True) as temporary:
        fill(temporary, NEW)
        write_manifest(temporary)


def test_the_folder_appears_complete(tmp_path):
    target = tmp_path / "made" / "model"
    with atomic_folder(target) as temporary:
        fill(temporary, NEW)
        assert not target.exists()
    assert content(target) == NEW and os.listdir(target.parent) == ["model"]
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_files_are_flushed_before_the_rename(tmp_path, monkeypatch):
    calls = []
    flush, rename = folders._flush, os.rename
    monkeypatch.setattr(folders, "_flush", lambda path: (calls.append(path.name), flush(path)))
    monkeypatch.setattr(folders.os, "rename", lambda a, b: (calls.append("rename"), rename(a, b)))
    with atomic_folder(tmp_path / "model") as temporary:
        fill(temporary, NEW)
    assert sorted(calls[:4]) == ["a.txt", "b.txt", "new", "sub"]
    assert calls[4:] == ["rename", tmp_path.name]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "made") as temporary:
        fill(temporary, NEW)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_that_holds_files_is_refused(tmp_path):
    fill(tmp_path / "model", OLD)
    with pytest.raises(UserError, match="model holds other files"), atomic_folder(tmp_path / "model"):
        raise AssertionError("the block must not run")
    assert content(tmp_path / "model") == OLD


def test_an_empty_folder_is_taken_and_a_link_followed(tmp_path):
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "model").symlink_to(tmp_path / "disk" / "model")
    with atomic_folder(tmp_path / "model") as temporary:
        fill(temporary, NEW)
    assert (tmp_path / "model").is_symlink() and content(tmp_path / "disk" / "model") == NEW


def test_a_folder_filled_meanwhile_is_not_lost(tmp_path):
    with pytest.raises(UserError, match="cannot write"), atomic_folder(tmp_path / "model") as temporary:
        fill(temporary, NEW)
        fill(tmp_path / "model", OLD)
    assert content(tmp_path / "model") == OLD and os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_keeps_the_old_folder(tmp_path, code):
    fill(tmp_path / "model", OLD)
    with pytest.raises(UserError, match=f"disk full while writing {tmp_path}/model; free"):
        with atomic_folder(tmp_path / "model", replace=True) as temporary:
            fill(temporary, NEW)
            raise OSError(code, os.strerror(code))
    assert content(tmp_path / "model") == OLD and os.listdir(tmp_path) == ["model"]


def test_a_file_in_the_way_is_one_line(tmp_path):
    fill(tmp_path, {"file": "x"})
    for target, replace in ((tmp_path / "file", True), (tmp_path / "file" / "model", False)):
        with pytest.raises(UserError, match="cannot write"), atomic_folder(target, replace=replace):
            raise AssertionError("the block must not run")
    assert content(tmp_path) == {"file": "x"}


class Stop(BaseException):
    """Raised in the place of a Ctrl-C."""


def stop_at_line(number, stop):
    """A trace function that calls `stop` before line `number` of folders.py and `write`, counted as they run."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename != folders.__file__ and frame.f_code is not write.__code__:
            return None
        count += event == "line"
        if event == "line" and count == number:
            stop()
        return trace

    return trace


def interrupt():
    raise Stop


def kill():
    os._exit(9)  # no cleanup


def stopped(target, number, stop):
    """Run `write` in another process that is stopped at a line; whether that line was reached."""
    child = os.fork()
    if child == 0:
        sys.settrace(stop_at_line(number, stop))
        try:
            write(target)
        except Stop:
            os._exit(9)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("stop", [interrupt, kill])
@pytest.mark.parametrize("before", [None, OLD])
def test_stopped_at_any_line(tmp_path, stop, before, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow, and of no effect here
    number, found = 0, []
    while True:
        number += 1
        target = tmp_path / str(number) / "model"
        if before:
            fill(target, before)
        reached = stopped(target, number, stop)
        if not target.exists():
            remove_stale_folders(target.parent, "model")
        now = content(target) if target.exists() else None
        if now is not None and now != before:
            assert check_manifest(target) is None and {**now, **NEW} == now and len(now) == 3
        found.append(now == before)
        write(target)
        assert {**content(target), **NEW} == content(target) and os.listdir(target.parent) == ["model"]
        if not reached:
            break
    assert number > 40 and found == sorted(
        found, reverse=True
    )  # the old folder up to some line, the new one after


def test_a_running_process_keeps_its_temporary_folder(tmp_path):
    with atomic_folder(tmp_path / "model") as temporary:
        fill(temporary, NEW)
        remove_stale_folders(tmp_path)
        write(tmp_path / "other")
    assert content(tmp_path / "model") == NEW and sorted(os.listdir(tmp_path)) == ["model", "other"]


def test_stale_folders_of_other_targets_stay_unless_asked_for(tmp_path):
    for name in ("model_1", "model_10"):
        (tmp_path / f".writing_{name}.abc" / "new").mkdir(parents=True)
    write(tmp_path / "model_1")
    assert sorted(os.listdir(tmp_path)) == [".writing_model_10.abc", "model_1"]
    remove_stale_folders(tmp_path)
    assert os.listdir(tmp_path) == ["model_1"]


def test_the_manifest_names_the_problem(tmp_path):
    fill(tmp_path, NEW)
    assert check_manifest(tmp_path) == f"{tmp_path}/manifest.json is missing or unreadable"
    write_manifest(tmp_path)
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == ["a.txt", "sub/b.txt"]
    assert check_manifest(tmp_path) is None
    write_manifest(tmp_path)  # does not list itself
    assert check_manifest(tmp_path) is None
    (tmp_path / "a.txt").write_text("neu")
    assert check_manifest(tmp_path) == f"{tmp_path}/a.txt does not match its checksum"
    (tmp_path / "a.txt").unlink()
    assert check_manifest(tmp_path) == f"{tmp_path}/a.txt is missing"
    for damaged in ("[]", "{", "\xff"):
        (tmp_path / "manifest.json").write_text(damaged, encoding="latin1")
        assert check_manifest(tmp_path) == f"{tmp_path}/manifest.json is missing or unreadable"
