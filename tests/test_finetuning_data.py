"""What fine-tuning reads, and how it is put into batches: columns, labels, bad files, little padding."""

import numpy as np
import pytest
from deployment_helpers import write_text

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.labelled import by_length, shuffled_batches
from ernie_from_scratch.finetuning.examples import label_names, read_examples


def test_columns_in_any_order_and_pairs(tmp_path):
    file = write_text(
        tmp_path / "x.tsv", "\ufeffqid\ttext_b\tlabel\ttext_a\r\n7\t书\tyes\t车\r\n\r\n8\t菜\tno\t房\r\n"
    )
    examples = read_examples(file)
    assert [(e.text_a, e.text_b, e.label) for e in examples] == [("车", "书", "yes"), ("房", "菜", "no")]
    assert examples[1].where.endswith("x.tsv:4")


def test_labels_are_not_needed_for_prediction(tmp_path):
    examples = read_examples(write_text(tmp_path / "x.tsv", "text_a\n车\n"), need_labels=False)
    assert [(e.text_a, e.text_b, e.label) for e in examples] == [("车", None, None)]


def test_label_order(tmp_path):
    def names(*labels):
        body = "".join(f"{label}\t车\n" for label in labels)
        return label_names(read_examples(write_text(tmp_path / "x.tsv", "label\ttext_a\n" + body)))

    assert names("10", "-1", "9", "9") == ["-1", "9", "10"]
    assert names("b", "10", "a") == ["10", "a", "b"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty file"),
        (" \n\n", "empty file"),
        ("label\ttext_a\n", "only a header"),
        ("text_a\n车\n", "no column 'label'"),
        ("label\ttext\n1\t车\n", "no column 'text_a'"),
        ("label\ttext_a\n1\t车\n2\n", "x.tsv:3"),
        ("label\ttext_a\n1\t车\tmore\n", "3 columns where the header has 2"),
        ("label\ttext_a\n1\t \n", "empty text_a"),
        ("label\ttext_a\n\t车\n", "empty label"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        read_examples(write_text(tmp_path / "x.tsv", text))
    assert message in str(error.value) and "x.tsv" in str(error.value) and "\n" not in str(error.value)


def test_other_encoding_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="not UTF-8"):
        read_examples(write_text(tmp_path / "x.tsv", "label\ttext_a\n1\t车\n", "gbk"))
    with pytest.raises(UserError, match="no such file"):
        read_examples(tmp_path / "missing.tsv")


# batches


@pytest.mark.parametrize("rows, size", [(1, 8), (8, 8), (1000, 32), (999, 7)])
def test_every_row_once_in_random_batches(rows, size):
    lengths = np.random.default_rng(0).integers(3, 100, rows)
    batches = shuffled_batches(lengths, size, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert len(batches) == -(-rows // size) and max(map(len, batches)) <= size


def test_batches_repeat_for_the_same_epoch_only():
    lengths = np.random.default_rng(0).integers(3, 100, 500)

    def flat(**which):
        return np.concatenate(shuffled_batches(lengths, 16, **which)).tolist()

    assert flat(seed=1, epoch=0) == flat(seed=1, epoch=0)
    assert flat(seed=1, epoch=0) != flat(seed=1, epoch=1) != flat(seed=2, epoch=1)


def test_batches_waste_little_on_padding_and_mix_the_rows():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 100, 2000)
    batches = shuffled_batches(lengths, 16, seed=1, epoch=0)
    padded = sum(lengths[b].max() * len(b) for b in batches)
    plain = sum(lengths[b].max() * len(b) for b in rng.permutation(2000).reshape(-1, 16))
    assert lengths.sum() / padded > 0.9 > lengths.sum() / plain
    # two epochs put different rows together: few pairs of neighbours repeat
    pairs = [
        {(a, b) for batch in shuffled_batches(lengths, 16, 1, e) for a in batch for b in batch if a < b}
        for e in (0, 1)
    ]
    assert len(pairs[0] & pairs[1]) < 0.2 * len(pairs[0])


def test_prediction_batches_cover_every_row_in_order_of_length():
    lengths = np.random.default_rng(0).integers(3, 100, 77)
    order = np.concatenate(list(by_length(lengths, 10)))
    assert sorted(order.tolist()) == list(range(77)) and np.all(np.diff(lengths[order]) >= 0)


@pytest.mark.real_data
def test_chnsenticorp_is_read_whole(real_data):
    examples = read_examples(real_data / "chnsenticorp" / "dev.tsv")
    assert len(examples) == 1200 and label_names(examples) == ["0", "1"]
    assert 0.4 < np.mean([example.label == "1" for example in examples]) < 0.6
    assert max(len(example.text_a) for example in examples) > 500
