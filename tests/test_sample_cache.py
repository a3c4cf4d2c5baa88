"""The sample table on disk: built once, shared, never stale, and failing together."""

import multiprocessing
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from process_helpers import HANG_SECONDS, wait_until

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset import sample_cache
from ernie_from_scratch.dataset.sample_cache import digest, load_or_build
from ernie_from_scratch.dataset.samples import SAMPLE

TABLE = np.array([(0, 0, 0, 5), (5, 1, 0, 7)], dtype=SAMPLE)


def fits(table):
    return len(table) == len(TABLE)


class Builder:
    def __init__(self, table=TABLE):
        self.table, self.calls = table, 0

    def __call__(self):
        self.calls += 1
        return self.table


def test_built_once_then_memory_mapped(tmp_path):
    build = Builder()
    for _ in range(3):
        table = load_or_build(str(tmp_path / "toy"), "settings", "data", build, fits)
        assert isinstance(table, np.memmap) and table.tolist() == TABLE.tolist()
    assert build.calls == 1


def test_other_settings_live_side_by_side_and_other_data_replaces(tmp_path):
    prefix, build = str(tmp_path / "toy"), Builder()
    for settings, data in (("s1", "d1"), ("s2", "d1"), ("s1", "d2"), ("s2", "d1")):
        load_or_build(prefix, settings, data, build, fits)
    assert build.calls == 3
    assert sorted(p.name for p in tmp_path.glob("*.npy")) == [
        "toy_samples_s1_d2.npy",
        "toy_samples_s2_d1.npy",
    ]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", np.arange(3), TABLE[:1]])
def test_a_damaged_or_foreign_file_is_built_again(tmp_path, content):
    prefix, build = str(tmp_path / "toy"), Builder()
    path = tmp_path / "toy_samples_s_d.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    assert load_or_build(prefix, "s", "d", build, fits).tolist() == TABLE.tolist() and build.calls == 1


def test_cache_dir(tmp_path):
    load_or_build(str(tmp_path / "toy"), "s", "d", Builder(), fits, tmp_path / "new" / "cache")
    assert [p.name for p in tmp_path.glob("new/cache/*.npy")] == ["toy_samples_s_d.npy"]


def test_where_nothing_can_be_written_the_table_stays_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="it is built again at each start"):
        table = load_or_build(str(tmp_path / "toy"), "s", "d", Builder(), fits, tmp_path / "file" / "cache")
    assert table.tolist() == TABLE.tolist()


def test_a_failed_build_leaves_nothing_and_the_next_start_tries_again(tmp_path):
    def fail():
        raise UserError("bad corpus")

    with pytest.raises(UserError, match="bad corpus"):
        load_or_build(str(tmp_path / "toy"), "s", "d", fail, fits)
    assert not list(tmp_path.glob("*.npy")) and not list(tmp_path.glob(".*"))
    assert load_or_build(str(tmp_path / "toy"), "s", "d", Builder(), fits).tolist() == TABLE.tolist()


def build_slowly(prefix, log, fails, waiting, others):
    """A process that builds once `others` wait for it; `waiting` counts them."""

    def build():
        with open(log, "a") as file:
            file.write("built\n")
        wait_until(lambda: waiting.value >= others)
        if fails:
            raise UserError("the corpus is broken")
        return TABLE

    def sleep(seconds):
        if not slept:
            slept.append(seconds)
            with waiting.get_lock():
                waiting.value += 1
        time.sleep(seconds)

    slept = []
    sample_cache.time = SimpleNamespace(sleep=sleep)  # where it waits for another builder
    try:
        table = load_or_build(prefix, "s", "d", build, fits)
        assert table.tolist() == TABLE.tolist()
        os._exit(0)
    except UserError as error:
        os._exit(3 if "the corpus is broken" in str(error) else 4)


@pytest.mark.parallel
@pytest.mark.parametrize("fails", [False, True])
def test_concurrent_processes_wait_for_one_builder_and_fail_with_it(tmp_path, fails):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    arguments = (str(tmp_path / "toy"), log, fails, context.Value("i", 0), 3)
    processes = [context.Process(target=build_slowly, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANG_SECONDS)
    assert [process.exitcode for process in processes] == [3 if fails else 0] * 4
    assert log.read_text().count("built") == 1


@pytest.mark.parallel
def test_a_killed_builder_is_succeeded(tmp_path):
    context = multiprocessing.get_context("fork")
    arguments = (str(tmp_path / "toy"), tmp_path / "log", False, context.Value("i", 0), 1)
    first = context.Process(target=build_slowly, args=arguments)  # waits for a second one, which never comes
    first.start()
    wait_until((tmp_path / "log").exists)
    first.kill()
    first.join()
    build = Builder()
    assert (
        load_or_build(str(tmp_path / "toy"), "s", "d", build, fits).tolist() == TABLE.tolist()
        and build.calls == 1
    )


def test_digests_tell_parts_apart():
    assert digest(1, 2) != digest(12) != digest("1", 2) and digest(1, "a") == digest(1, "a")
