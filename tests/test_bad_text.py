"""Whatever is wrong with the input of `ernie prepare`: one line on stderr, exit code 2, nothing half-written."""

import gzip
import os
import subprocess
import sys

import pytest
from text_helpers import PARAGRAPHS, TEXT, small_vocabulary

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.text.corpus.prepared import open_prepared

OUTPUTS = ("_ids.npy", "_idx.npz", "_spans.npy", "_meta.json")


@pytest.fixture()
def place(tmp_path):
    """A folder with a vocabulary and an earlier output."""
    small_vocabulary().save(tmp_path / "vocab.txt")
    (tmp_path / "good.txt").write_text(TEXT, encoding="utf-8")
    arguments = ["--input", str(tmp_path / "good.txt"), "--output", str(tmp_path / "out")]
    assert main(["prepare", *arguments, "--vocab", str(tmp_path / "vocab.txt"), "--workers", "1"]) == 0
    return tmp_path


def fail(place, capsys, *arguments, input="bad", output="out", vocab="vocab.txt") -> str:
    """Runs prepare, which must fail as promised, and returns the message."""
    before = {suffix: (place / f"out{suffix}").read_bytes() for suffix in OUTPUTS}
    capsys.readouterr()
    inputs = [input] if isinstance(input, str) else input
    code = main(
        ["prepare", "--input", *(name if name == "-" else str(place / name) for name in inputs)]
        + ["--output", str(place / output), "--vocab", str(place / vocab), "--workers", "1", *arguments]
    )
    captured = capsys.readouterr()
    lines = captured.err.strip().split("\n")
    assert code == 2 and captured.out == ""
    assert len(lines) == 1 and lines[0].startswith("error: ") and "; " in lines[0]
    assert before == {suffix: (place / f"out{suffix}").read_bytes() for suffix in OUTPUTS}
    made = {path.name for path in place.iterdir() if path.suffix in (".npy", ".npz", ".tmp")}
    assert made == {"out_ids.npy", "out_idx.npz", "out_spans.npy"}
    return lines[0]


def write(place, data: bytes, name="bad") -> None:
    (place / name).write_bytes(data)


def test_missing_file(place, capsys):
    assert "no such file" in fail(place, capsys, input="nothing.txt")


def test_empty_file(place, capsys):
    write(place, b"")
    assert "empty file" in fail(place, capsys)
    write(place, b" \n\n \n")
    assert "empty file" in fail(place, capsys)


def test_binary_file(place, capsys):
    write(place, b"\x7fELF\x02\x01\x01\x00\x00\x00" + os.urandom(3000))
    assert "binary file" in fail(place, capsys)


def test_gbk_is_named_and_the_way_out_is_said(place, capsys):
    write(place, (TEXT.replace("·", "") * 5).encode("gb18030"))
    message = fail(place, capsys)
    assert "looks like GBK" in message and "iconv -f GB18030 -t UTF-8" in message


def test_utf_16(place, capsys):
    write(place, TEXT.encode("utf-16"))
    assert "is UTF-16" in fail(place, capsys)


def test_broken_utf_8_is_placed(place, capsys):
    text = TEXT.encode()
    write(place, text + b"\n\n" + text[:39] + b"\xff" + text[39:])
    message = fail(place, capsys)
    assert "invalid UTF-8" in message and f"byte {len(text) + 41}" in message
    assert f"line {text.count(10) + 3}" in message


def test_utf_8_cut_in_a_character(place, capsys):
    write(place, TEXT.strip().encode()[:-1])
    assert "invalid UTF-8" in fail(place, capsys)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_gz(place, capsys, kept):
    data = gzip.compress(TEXT.encode() * 50)
    write(place, data[: int(len(data) * kept)], "bad.txt.gz")
    assert "damaged or truncated archive" in fail(place, capsys, input="bad.txt.gz")


def test_gz_that_is_none(place, capsys):
    write(place, TEXT.encode(), "bad.txt.gz")
    assert "damaged or truncated archive" in fail(place, capsys, input="bad.txt.gz")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "一"', "not JSON: {} line 3"),
        ("普通的文字", "not JSON: {} line 3"),
        ('["text"]', "not a JSON object: {} line 3"),
        ('{"content": "一", "id": 3}', "missing key: {} line 3 has no 'text' (keys: content, id)"),
        ('{"text": ' + "[" * 100_000, "not JSON: {} line 3"),
        ('{"text": 5}', "not text: {} line 3, text"),
        ('{"sentences": "一"}', "not a list: {} line 3"),
        ('{"sentences": [{"txt": "一"}]}', "not a sentence: {} line 3"),
        ('{"sentences": [{"text": "一二", "spans": [[0, 3, "LOC"]]}]}', "wrong span: {} line 3"),
        ('{"sentences": [{"text": "一二", "spans": [[1, 1, "LOC"]]}]}', "wrong span: {} line 3"),
        ('{"sentences": [{"text": "一二", "spans": [[0, 1, "CITY"]]}]}', "wrong span: {} line 3"),
        ('{"sentences": [{"text": "一二", "spans": [[0, true, "LOC"]]}]}', "wrong span: {} line 3"),
        ('{"sentences": [{"text": "一二", "spans": 7}]}', "wrong span: {} line 3"),
    ],
)
def test_jsonl_lines_are_placed(place, capsys, line, message):
    good = '{"text": "' + PARAGRAPHS[0] + '"}'
    write(place, f"{good}\n\n{line}\n{good}\n".encode(), "bad.jsonl")
    assert message.format(place / "bad.jsonl") in fail(place, capsys, input="bad.jsonl")


def test_row_too_long(place, capsys, monkeypatch):
    monkeypatch.setattr("ernie_from_scratch.text.corpus.chunks.MAX_ROW_BYTES", 5000)
    rows = '{"text": "一二三四五六七八九十"}\n{"text": "' + "长" * (4 << 20) + '"}\n'
    write(place, rows.encode(), "bad.jsonl")
    assert "row too long: " in (said := fail(place, capsys, input="bad.jsonl")) and " line 2 " in said


def test_frequency_too_high(place, capsys):
    write(place, "词 99999999999999999999999\n".encode(), "words.txt")
    message = fail(place, capsys, "--user_dict", str(place / "words.txt"), input="good.txt")
    assert "frequency too high" in message and "line 1" in message


def test_a_folder_with_the_name_of_the_work_folder_stays(place, capsys):
    (place / "new.parts").mkdir()
    write(place, TEXT.encode(), "new.parts/mine.txt")
    assert "folder exists: " in fail(place, capsys, input="new.parts", output="new")
    assert (place / "new.parts" / "mine.txt").read_bytes() == TEXT.encode()


def test_empty_name(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    capsys.readouterr()
    assert main(["prepare", "--input", "", "--output", "new", "--vocab", "vocab.txt"]) == 2
    assert "empty name" in capsys.readouterr().err


def test_folder_without_text(place, capsys):
    (place / "folder").mkdir()
    write(place, b"\x89PNG", "folder/picture.png")
    assert "no text in folder" in fail(place, capsys, input="folder")
    write(place, b"", "folder/empty.txt")
    assert "empty files" in fail(place, capsys, input="folder")


def test_only_short_documents(place, capsys):
    write(place, "短。\n\n也短。".encode())
    message = fail(place, capsys)
    assert "no document left: 2 of 2 documents" in message and "min_document_length" in message


def test_vocabulary_without_mask(place, capsys):
    write(place, "\n".join(t for t in small_vocabulary().tokens if t != "[MASK]").encode(), "other.txt")
    assert "has no [MASK]" in fail(place, capsys, input="good.txt", vocab="other.txt")


def test_missing_vocabulary(place, capsys):
    assert "no such file" in fail(place, capsys, input="good.txt", vocab="nothing.txt")


def test_output_in_the_way_of_a_file(place, capsys):
    assert "cannot write" in fail(place, capsys, input="good.txt", output="good.txt/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_without_permission(place, capsys):
    (place / "locked").mkdir(mode=0o500)
    assert "cannot write" in fail(place, capsys, input="good.txt", output="locked/out")


def test_output_without_a_name(place, capsys):
    assert "give a prefix" in fail(place, capsys, input="good.txt", output="..")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--segmenter", "thulac"), "--segmenter is 'thulac'; give one of builtin, jieba, rjieba, lac, none"),
        (("--word_marks", "guess"), "--word_marks is 'guess'; give one of position, paddlenlp"),
        (("--split_sentences", "never"), "--split_sentences is 'never'; give one of punctuation, newline"),
        (("--format", "csv"), "--format is 'csv'; give one of auto, txt, jsonl"),
        (("--workers", "0"), "--workers is 0; it must be at least 1"),
        (
            ("--max_sentence_length", "1"),
            "--max_sentence_length is 1; it must be at least 2 and at most 1000000",
        ),
        (("--max_sentence_length", "3e9"), "max_sentence_length"),
        (
            ("--max_sentence_length", "3000000000"),
            "--max_sentence_length is 3000000000; it must be at least 2 and at most 1000000",
        ),
        (("--shuffle", "--seed", "-1"), "--seed is -1; it must be at least 0"),
        (("--user_dict", "nowhere.txt"), "cannot read: user dictionary nowhere.txt"),
        (("--segmenter", "lac", "--lac_model", "nowhere"), "no LAC model: nowhere"),
        (("--jsonkey", "x"), "json_key"),
    ],
)
def test_wrong_settings(place, capsys, arguments, message):
    assert message in fail(place, capsys, *arguments, input="good.txt")


def test_full_disk(place, capsys):
    """On a file system of 256 kB, first while parts are written, then while they are joined."""
    small = place / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        for repeats, filler in ((600, 0), (1, 252), (1, 248), (1, 244), (1, 240)):
            write(place, (TEXT * repeats).encode())
            (small / "filler").write_bytes(bytes(filler * 1024))
            assert "no space left on device" in fail(place, capsys, output="small/out")
            assert not list(small.glob("out_*")) and not list(small.glob("**/.*.tmp"))
        (small / "filler").unlink()
        write(place, TEXT.encode())
        arguments = [
            "--input",
            str(place / "bad"),
            "--output",
            str(small / "out"),
            "--vocab",
            str(place / "vocab.txt"),
        ]
        assert main(["prepare", *arguments, "--workers", "1"]) == 0  # the disk has space again: it resumes
        open_prepared(small / "out", verify=True)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_vocab_command(place, capsys):
    arguments = ["--input", str(place / "good.txt"), "--output", str(place / "new.txt"), "--size", "300"]
    assert main(["vocab", *arguments]) == 0
    assert "tokens in" in capsys.readouterr().out
    write(place, b"")
    for wrong in (["--input", str(place / "bad")], ["--size", "3"], ["--output", str(place / "bad" / "x")]):
        assert main(["vocab", *arguments, *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parallel
def test_the_command_itself_reads_standard_input(place):
    command = [
        sys.executable,
        "-m",
        "ernie_from_scratch",
        "prepare",
        "--input",
        "-",
        "--output",
        str(place / "piped"),
    ]
    command += ["--vocab", str(place / "vocab.txt"), "--workers", "2"]
    run = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=True)
    assert b"5 documents" in run.stdout and run.stderr == b""
    assert (place / "piped_ids.npy").read_bytes() == (place / "out_ids.npy").read_bytes()
    run = subprocess.run(command, input=b"", capture_output=True)
    assert run.returncode == 2 and run.stderr.startswith(b"error: empty file: standard input")
