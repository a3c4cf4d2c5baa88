"""Preparing a corpus that is stopped, killed or started twice: it resumes."""

import os
import signal
import sys

import pytest
from process_helpers import runs, start, wait_until
from text_helpers import TEXT, prepared_bytes, small_vocabulary

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus import part_files
from ernie_from_scratch.text.corpus import worker_pool as workers
from ernie_from_scratch.text.corpus.prepare import prepare


class Stopped(Exception):
    pass


def count_encodings(monkeypatch, stop_after=None):
    """Counts the chunks that are encoded; raises Stopped after `stop_after` of them."""
    done = []
    write = part_files.write_part

    def counted(path, *rest):
        if stop_after is not None and len(done) == stop_after:
            raise Stopped
        write(path, *rest)
        done.append(path.name)

    monkeypatch.setattr(workers.part_files, "write_part", counted)
    return done


def test_a_stopped_run_resumes(tmp_path, many_documents, monkeypatch):
    prepare(many_documents, tmp_path / "whole", small_vocabulary(), chunk_bytes=5000)
    count_encodings(monkeypatch, stop_after=7)
    with pytest.raises(Stopped):
        prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000)
    assert not (tmp_path / "a_ids.npy").exists()
    monkeypatch.undo()
    done = count_encodings(monkeypatch)
    prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000)
    assert done and done[0] == "part-000007.npz"
    assert prepared_bytes(tmp_path / "a") == prepared_bytes(tmp_path / "whole")


@pytest.mark.parametrize("change", ["settings", "text", "part"])
def test_outdated_parts_are_encoded_again(tmp_path, many_documents, monkeypatch, change):
    count_encodings(monkeypatch, stop_after=7)
    with pytest.raises(Stopped):
        prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000)
    monkeypatch.undo()
    given = {"max_sentence_length": 30} if change == "settings" else {}
    if change == "text":
        text = many_documents.read_text(encoding="utf-8")
        many_documents.write_text(text.replace("第3篇", "第九篇"), encoding="utf-8")
    if change == "part":
        path = part_files.part_path(tmp_path / "a.parts", 2)
        path.write_bytes(path.read_bytes()[:500])
    done = count_encodings(monkeypatch)
    prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000, **given)
    again = {"settings": 0, "text": 0, "part": 2}[change]
    assert done[0] == f"part-{again:06d}.npz"
    monkeypatch.undo()
    prepare(many_documents, tmp_path / "fresh", small_vocabulary(), chunk_bytes=5000, **given)
    assert prepared_bytes(tmp_path / "a") == prepared_bytes(tmp_path / "fresh")


@pytest.mark.parallel
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_resumes_and_leaves_no_process(tmp_path, many_documents, monkeypatch):
    script = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from text_helpers import small_vocabulary
from ernie_from_scratch.text.corpus import prepare, worker_pool as workers
encode = workers.ChunkEncoder.encode
def slow(self, *rest):
    time.sleep(0.3)
    return encode(self, *rest)
workers.ChunkEncoder.encode = slow
prepare.prepare({str(many_documents)!r}, {str(tmp_path / "a")!r}, small_vocabulary(), chunk_bytes=5000, workers=2)
"""
    process = start([sys.executable, "-c", script])
    folder = tmp_path / "a.parts"
    wait_until(lambda: len(list(folder.glob("part-*.npz"))) >= 3, process)
    children = [int(p) for p in open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name for path in folder.glob("part-*.npz")}
    assert len(children) == 2 and len(kept) >= 3
    wait_until(lambda: not any(runs(child) for child in children))
    done = count_encodings(monkeypatch)
    prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000)
    assert kept.isdisjoint(done) and done
    prepare(many_documents, tmp_path / "b", small_vocabulary())
    assert prepared_bytes(tmp_path / "a") == prepared_bytes(tmp_path / "b")


@pytest.mark.parallel
def test_a_killed_worker_is_one_line(tmp_path, many_documents, monkeypatch):
    def die(self, piece, path):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(workers.ChunkEncoder, "encode", die)
    with pytest.raises(UserError, match="a worker process was killed: memory may be short"):
        prepare(many_documents, tmp_path / "a", small_vocabulary(), chunk_bytes=5000, workers=2)


def test_output_inside_the_input_folder(tmp_path, monkeypatch):
    """What a run wrote there, and what it is writing, is no text."""
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    first = prepare(tmp_path, tmp_path / "out", small_vocabulary())
    again = prepare(tmp_path, tmp_path / "out", small_vocabulary())
    assert first["counts"] == again["counts"] and first["counts"]["documents"] == 5
    count_encodings(monkeypatch, stop_after=0)
    with pytest.raises(Stopped):
        prepare(tmp_path, tmp_path / "out", small_vocabulary())
    monkeypatch.undo()
    assert (tmp_path / "out.parts" / "key.json").exists()
    assert prepare(tmp_path, tmp_path / "out", small_vocabulary())["inputs"] == [str(tmp_path / "a.txt")]


def test_two_runs_to_one_place_do_not_meet(tmp_path, many_documents):
    with part_files.work_folder(tmp_path / "a", "key"):
        with pytest.raises(UserError, match="already running: another process prepares"):
            prepare(many_documents, tmp_path / "a", small_vocabulary())
