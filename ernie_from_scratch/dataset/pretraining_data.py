"""`PretrainingData`: prepared corpora as train, valid and test splits of masked samples."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.batch import Batch
from ernie_from_scratch.dataset.blending import Blend, check_weights, epoch_shares, split_documents
from ernie_from_scratch.dataset.mask_schedule import Schedule, check_levels, mask_stages
from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.rng import MASK64, fold, mix64
from ernie_from_scratch.dataset.sample_cache import digest, load_or_build
from ernie_from_scratch.dataset.sampler import make_sampler
from ernie_from_scratch.dataset.samples import SampleRules, build_samples, count_samples, is_valid_table
from ernie_from_scratch.dataset.settings import SPLITS, DataSettings
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary

LAST_NUMBER = 1 << 62


class PretrainingData:
    """Prepared corpora as a source of masked batches: `data["train"].batch(sample_numbers)`.

    Args:
        prefixes: (weight, prefix) of each corpus; weights are shares of the samples.
        vocabulary: the one that the corpora were prepared with.
        split: shares of documents for train, valid and test.
        max_seq_len: longest row, [CLS] and [SEP] included.
        masking: "char", "word", "phrase", "entity" or "knowledge"; masking.py describes each.
        masked_lm_prob: share of tokens to mask.
        max_ngrams: longest run of units masked together; n has p ~ 1/n, or p ~ n with favor_longer_ngram.
        sentence_pairs: "sop" (A and B swapped with probability 0.5), "nsp" (B from another document with
            probability 0.5) or "none" (one segment).
        short_seq_prob: share of samples with a random shorter length.
        seed: any integer.
        mask_schedule: with "knowledge", which levels (see `mask_stages`); by default char, phrase and entity
            for a third of the rows each. Stages apply to train; valid and test use the last one.
        replace_per: whether [MASK], unchanged or random is drawn per "token" or per "unit".
        max_sentences: most sentences in a sample; 0 for as many as fit.
        cache_dir: where sample tables are stored; by default next to each corpus.

    Raises:
        UserError: a setting is out of range, or the files do not fit each other, the vocabulary or the
            masking.
    """

    def __init__(
        self,
        prefixes: Sequence[tuple[float, str | os.PathLike]],
        vocabulary: Vocabulary,
        split: str = DataSettings.split,
        max_seq_len: int = DataSettings.max_seq_len,
        masking: str = DataSettings.masking,
        masked_lm_prob: float = DataSettings.masked_lm_prob,
        max_ngrams: int = DataSettings.max_ngrams,
        sentence_pairs: str = DataSettings.sentence_pairs,
        short_seq_prob: float = DataSettings.short_seq_prob,
        seed: int = DataSettings.seed,
        mask_schedule: Schedule | None = None,
        favor_longer_ngram: bool = DataSettings.favor_longer_ngram,
        replace_per: str = DataSettings.replace_per,
        max_sentences: int = DataSettings.max_sentences,
        cache_dir: str | os.PathLike | None = None,
    ):
        settings = DataSettings(
            split=split,
            max_seq_len=max_seq_len,
            sentence_pairs=sentence_pairs,
            short_seq_prob=short_seq_prob,
            max_sentences=max_sentences,
            masking=masking,
            masked_lm_prob=masked_lm_prob,
            max_ngrams=max_ngrams,
            favor_longer_ngram=favor_longer_ngram,
            replace_per=replace_per,
            seed=seed,
        ).check()
        check_weights(prefixes)
        stages = mask_stages(settings.masking, mask_schedule)
        specials = 2 if settings.sentence_pairs == "none" else 3
        self.vocabulary, self.max_seq_len, self.cache_dir = vocabulary, settings.max_seq_len, cache_dir
        self.tokens = TokenTable.of(vocabulary)
        self.sample_rules = SampleRules(
            settings.max_seq_len - specials,
            settings.sentence_pairs,
            settings.short_seq_prob,
            settings.max_sentences,
        )
        self.masking_rules = MaskingRules(
            stages,
            settings.masked_lm_prob,
            settings.max_ngrams,
            settings.favor_longer_ngram,
            settings.replace_per,
        )
        self.weights = [float(weight) for weight, _ in prefixes]
        self.corpora = [open_prepared(prefix, vocabulary) for _, prefix in prefixes]
        for corpus in self.corpora:
            check_levels(corpus, stages, settings.masking)
        identities = [corpus.identity() for corpus in self.corpora]
        rules = (self.sample_rules, self.masking_rules, self.max_seq_len, self.weights)
        dependencies = (identities, vocabulary.sha256, settings.split, settings.seed, rules)
        self.fingerprint = hashlib.sha256(repr(dependencies).encode()).hexdigest()
        self.seed_key = mix64(settings.seed & MASK64)
        ranges = [split_documents(len(corpus.documents) - 1, settings.split) for corpus in self.corpora]
        self.splits = {
            name: self._make_split(number, name, [of_corpus[number] for of_corpus in ranges], identities)
            for number, name in enumerate(SPLITS)
        }
        if not any(len(part) for part in self.splits.values()):
            raise UserError(
                f"no samples in {', '.join(c.prefix for c in self.corpora)}; prepare a corpus with text"
            )

    def __getitem__(self, name: str) -> "PretrainingSplit":
        if name not in SPLITS:
            raise UserError(f"split {name!r} is unknown; choose one of {', '.join(SPLITS)}")
        return self.splits[name]

    def report(self) -> dict[str, dict[str, int]]:
        """Counts per split: documents, sentences, tokens, samples, and what was split or dropped."""
        return {name: split.report() for name, split in self.splits.items()}

    def _make_split(
        self, number: int, name: str, ranges: list[tuple[int, int]], identities: list[str]
    ) -> "PretrainingSplit":
        tables = [self._table(c, first, last, identities[c], name) for c, (first, last) in enumerate(ranges)]
        sizes = np.array([len(table) for table in tables], dtype=np.int64)
        blend = Blend(sizes, epoch_shares(sizes, self.weights), fold(self.seed_key, number))
        masking_rules = self.masking_rules
        if name != "train":
            masking_rules = dataclasses.replace(masking_rules, stages=((0, masking_rules.stages[-1][1]),))
        return PretrainingSplit(name, self, tables, ranges, masking_rules, blend)

    def _table(self, c: int, first: int, last: int, identity: str, name: str) -> np.ndarray:
        corpus, rules = self.corpora[c], self.sample_rules
        key = fold(fold(self.seed_key, len(SPLITS)), c)
        settings = digest(first, last, rules, key)

        def build() -> np.ndarray:
            helpers = native.helpers()
            return (helpers.build_samples if helpers else build_samples)(corpus, first, last, rules, key)

        def is_valid(table: np.ndarray) -> bool:
            return is_valid_table(corpus, table, rules)

        data = digest(identity, self.vocabulary.sha256)
        table = load_or_build(corpus.prefix, settings, data, build, is_valid, self.cache_dir)
        if rules.sentence_pairs == "nsp" and len(table) and table["document"][0] == table["document"][-1]:
            raise UserError(
                f"sentence_pairs=nsp needs two documents, but the {name} split of {corpus.prefix} has one; "
                "use sop, or another split"
            )
        return table


class PretrainingSplit:
    """One of train, valid and test; `len` is the number of samples in an epoch."""

    def __init__(
        self,
        name: str,
        data: PretrainingData,
        tables: list[np.ndarray],
        ranges: list[tuple[int, int]],
        masking_rules: MaskingRules,
        blend: Blend,
    ):
        self.name, self.tables, self.masking_rules, self.blend = name, tables, masking_rules, blend
        self._ranges, self._corpora, self._sample_rules = ranges, data.corpora, data.sample_rules
        self._sampler = make_sampler(
            data.corpora, tables, data.tokens, data.sample_rules, masking_rules, blend, data.max_seq_len
        )

    def __len__(self) -> int:
        return len(self.blend)

    def batch(self, sample_numbers: np.ndarray | Sequence[int]) -> Batch:
        """The masked batch of the given samples (see batch.py), always the same for the same numbers.

        Args:
            sample_numbers: [B] integers; number n is sample n % len of epoch n // len.

        Returns:
            Arrays, without `labels`, and without `next_sentence_label` for sentence_pairs="none". L is the
            length of the longest row rounded up to a multiple of 8, at most max_seq_len.

        Raises:
            UserError: the split is empty, a number is out of range, or an id is beyond the vocabulary.
        """
        numbers = np.asarray(sample_numbers)
        integers = numbers.ndim == 1 and numbers.size and np.issubdtype(numbers.dtype, np.integer)
        if not integers or numbers.min() < 0 or numbers.max() > LAST_NUMBER:
            raise UserError("sample numbers must be one or more integers, none negative")
        if not len(self):
            raise UserError(f"the {self.name} split has no samples; give it a larger share of documents")
        try:
            return self._sampler.batch(np.ascontiguousarray(numbers, dtype=np.int64))
        except UserError:
            raise
        except ValueError as error:  # the C++ sampler's
            raise UserError(str(error)) from None

    def report(self) -> dict[str, int]:
        """Counts over all corpora; see `count_samples`."""
        counts = [
            count_samples(corpus, table, first, last, self._sample_rules)
            for corpus, table, (first, last) in zip(self._corpora, self.tables, self._ranges, strict=True)
        ]
        return {name: sum(of_corpus[name] for of_corpus in counts) for name in counts[0]}
