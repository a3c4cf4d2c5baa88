"""What fine-tuning reads: columns, labels, bad files."""

import numpy as np
import pytest
from deployment_helpers import write_text

from ernie_from_scratch.config import UserError
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


@pytest.mark.real_data
def test_chnsenticorp_is_read_completely(real_data):
    examples = read_examples(real_data / "chnsenticorp" / "dev.tsv")
    assert len(examples) == 1200 and label_names(examples) == ["0", "1"]
    assert 0.4 < np.mean([example.label == "1" for example in examples]) < 0.6
    assert max(len(example.text_a) for example in examples) > 500
