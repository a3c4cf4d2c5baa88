"""Batches: layout of rows, padding, flat positions."""

import numpy as np
import pytest
from dataset_helpers import BOTH, FIRST, random_documents, random_sentence, toy_sampler

from ernie_from_scratch.dataset.samples import IGNORE_INDEX
from ernie_from_scratch.dataset.settings import SENTENCE_PAIRS


@BOTH
@pytest.mark.parametrize("pairs", SENTENCE_PAIRS)
@pytest.mark.parametrize("spans", [True, False])
def test_rows_are_laid_out_as_ernie_reads_them(implementation, pairs, spans):
    sampler = toy_sampler(random_documents(1), implementation, pairs=pairs, spans=spans)
    batch, tokens = sampler.batch(np.arange(64)), sampler.tokens
    ids, types, mask = batch["input_ids"], batch["token_type_ids"], batch["attention_mask"]
    assert ids.shape == types.shape == mask.shape and ids.shape[1] % 8 == 0
    assert all(
        a.dtype == np.int64 for a in (ids, types, mask, batch["masked_positions"], batch["masked_lm_labels"])
    )
    assert batch["masked_span_kinds"].dtype == np.uint8
    assert ("next_sentence_label" in batch) == (pairs != "none")
    lengths = mask.sum(axis=1)
    assert ids.shape[1] - lengths.max() < 8
    labels = batch.get("next_sentence_label", np.full(len(ids), IGNORE_INDEX))
    for row, kind, seen, length, label in zip(ids, types, mask, lengths, labels, strict=True):
        assert seen.tolist() == [1] * length + [0] * (len(row) - length)
        assert (row[length:] == tokens.pad_id).all() and (kind[length:] == 0).all()
        separators = np.flatnonzero(row == tokens.sep_id)
        assert row[0] == tokens.cls_id and separators[-1] == length - 1
        assert len(separators) == (1 if label == IGNORE_INDEX else 2)
        boundary = separators[0] + 1
        assert kind[:boundary].sum() == 0 and (kind[boundary:length] == 1).all()
    flat = batch["masked_positions"]
    assert (np.diff(flat) > 0).all() and (mask.ravel()[flat] == 1).all()
    assert not np.isin(ids.ravel()[flat], [tokens.cls_id, tokens.sep_id, tokens.pad_id]).any()
    assert not spans or batch["masked_span_kinds"].any()
    assert spans or not batch["masked_span_kinds"].any()


@BOTH
def test_sop_labels_tell_the_order(implementation):
    sampler = toy_sampler(random_documents(2, sentences=(2, 9)), implementation, masked_lm_prob=0.01)
    batch, text = sampler.batch(np.arange(400)), sampler.tokens.model_ids[sampler.corpus.ids].tolist()
    ids = batch["input_ids"].ravel().copy()
    ids[batch["masked_positions"]] = batch["masked_lm_labels"]
    joined = " ".join(map(str, text)) + " "
    rows, labels = ids.reshape(batch["input_ids"].shape), batch["next_sentence_label"]
    asked = labels != IGNORE_INDEX
    assert asked.mean() > 0.5
    for row, label in zip(rows[asked], labels[asked], strict=True):
        a_end, b_end = np.flatnonzero(row == sampler.tokens.sep_id)
        a, b = row[1:a_end].tolist(), row[a_end + 1 : b_end].tolist()
        in_order = "".join(f"{token} " for token in (b + a if label else a + b))
        assert in_order in joined
    assert 0.4 < labels[asked].mean() < 0.6


@BOTH
@pytest.mark.parametrize("max_seq_len", [20, 21, 64])
def test_rows_fit_max_seq_len_and_full_batches_need_no_mask(implementation, max_seq_len):
    rng = np.random.default_rng(0)
    document = [random_sentence(rng, max_seq_len - 2) for _ in range(8)]
    sampler = toy_sampler([document], implementation, max_seq_len, pairs="none", short_seq_prob=0.0)
    batch = sampler.batch(np.arange(8))
    assert batch["input_ids"].shape == (8, max_seq_len) and batch["attention_mask"] is None


@BOTH
def test_the_longest_row_sets_the_width(implementation):
    documents = [[([FIRST] * length, [3] * length)] for length in (4, 30)]
    sampler = toy_sampler(documents, implementation, pairs="none", short_seq_prob=0.0)
    widths = {sampler.batch(np.array([number]))["input_ids"].shape[1] for number in (0, 1)}
    assert widths == {8, 32}
