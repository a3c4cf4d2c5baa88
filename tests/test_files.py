"""Atomic writing, and reading of plain and compressed files."""

import gzip
import lzma
import os
import stat

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.utils.files import atomic_write, cannot_write, open_bytes, sha256_file

TEXT = "一行文字\n".encode() * 20_000


def test_atomic_write_makes_the_whole_file_and_folders(tmp_path):
    target = tmp_path / "new" / "folder" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("内容", encoding="utf-8")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text(encoding="utf-8") == "内容"
    assert os.listdir(target.parent) == ["file.txt"]


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_atomic_write_gives_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "file"):
        pass
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_atomic_write_says_what_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write: .*file/inside"),
        atomic_write(tmp_path / "file" / "inside"),
    ):
        pass
    with pytest.raises(UserError, match="is a folder"), atomic_write(tmp_path):
        pass


def test_cannot_write_is_one_line():
    message = str(cannot_write("x", OSError(28, "No space left on device")))
    assert message == "cannot write: x (no space left on device); choose another location or free disk space"


def test_sha256_file(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert (
        sha256_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def packed(path, data: bytes):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(data))
    elif path.suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        frame = zstandard.ZstdCompressor(write_checksum=True).compress  # as the command zstd does
        path.write_bytes(frame(data[:1000]) + frame(data[1000:]))  # two frames, as `cat a.zst b.zst` gives
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".xz", ".zst"])
def test_open_bytes_reads_every_form_and_counts_stored_bytes(tmp_path, suffix):
    path = packed(tmp_path / f"file{suffix}", TEXT)
    counts = []
    with open_bytes(path, counts.append) as file:
        blocks = []
        while block := file.read(4096):
            blocks.append(block)
    assert b"".join(blocks) == TEXT
    assert sum(counts) == path.stat().st_size


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["truncated", "garbled", "no archive"])
def test_damaged_archives_are_named(tmp_path, suffix, damage):
    path = packed(tmp_path / f"file{suffix}", os.urandom(50_000))
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "garbled":
        path.write_bytes(data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :])
    else:
        path.write_bytes("只是文字".encode())
    with (
        pytest.raises(UserError, match=f"damaged or truncated archive: .*file{suffix}"),
        open_bytes(path) as file,
    ):
        while file.read(1 << 16):
            pass


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file: .*nothing.txt"), open_bytes(tmp_path / "nothing.txt"):
        pass
