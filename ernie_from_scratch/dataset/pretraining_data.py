"""`PretrainingData`: prepared corpora as train, valid and test splits of masked samples."""

import dataclasses
import hashlib

import numpy as np

from ernie_from_scratch import native
from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.blending import Blend, check_weights, epoch_shares, split_documents
from ernie_from_scratch.dataset.indexed import open_corpus
from ernie_from_scratch.dataset.mask_schedule import check_levels, mask_stages
from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.rng import MASK64, fold, mix64
from ernie_from_scratch.dataset.sample_cache import digest, load_or_build
from ernie_from_scratch.dataset.sampler import make_sampler
from ernie_from_scratch.dataset.samples import SampleRules, build_samples, count_samples, table_fits
from ernie_from_scratch.dataset.settings import SPLITS, DataSettings
from ernie_from_scratch.dataset.tokens import TokenTable

LAST_NUMBER = 1 << 62


class PretrainingData:
    """Prepared corpora, ready to draw batches from: `data["train"].batch(sample_numbers)`.

    Args:
        prefixes: (weight, prefix) of each corpus; weights are shares of the samples.
        vocabulary: the `Vocabulary` that the corpora were prepared with.
        split: shares of documents for train, valid and test.
        max_seq_len: longest row, [CLS] and [SEP] included.
        masking: "char", "word", "phrase", "entity" or "knowledge" (masking.py says what each does).
        masked_lm_prob: share of tokens to mask.
        max_ngrams: longest run of units masked together; n has p ~ 1/n, the reverse with favor_longer_ngram.
        sentence_pairs: "sop" (A and B swapped half of the time), "nsp" (B from another document half of the
            time) or "none" (one segment).
        short_seq_prob: share of samples with a random shorter length.
        seed: any whole number.
        mask_schedule: with "knowledge", which levels (`mask_stages`); by default a third of the rows each is
            masked by char, phrase and entity. Stages apply to train; valid and test use the last one.
        replace_per: whether [MASK], unchanged or random is decided per "token" or per "unit".
        max_sentences: most sentences in a sample; 0 for as many as fit.
        cache_dir: where sample tables are kept; by default beside each corpus.

    Raises:
        UserError: a setting is out of range, or files don't fit each other, the vocabulary or the masking.
    """

    def __init__(
        self,
        prefixes,
        vocabulary,
        split=DataSettings.split,
        max_seq_len=DataSettings.max_seq_len,
        masking=DataSettings.masking,
        masked_lm_prob=DataSettings.masked_lm_prob,
        max_ngrams=DataSettings.max_ngrams,
        sentence_pairs=DataSettings.sentence_pairs,
        short_seq_prob=DataSettings.short_seq_prob,
        seed=DataSettings.seed,
        mask_schedule=None,
        favor_longer_ngram=DataSettings.favor_longer_ngram,
        replace_per=DataSettings.replace_per,
        max_sentences=DataSettings.max_sentences,
        cache_dir=None,
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
        self.corpora = [open_corpus(prefix, vocabulary) for _, prefix in prefixes]
        for corpus in self.corpora:
            check_levels(corpus, stages, settings.masking)
        identities = [corpus.identity() for corpus in self.corpora]
        rules = (self.sample_rules, self.masking_rules, self.max_seq_len, self.weights)
        everything = (identities, vocabulary.sha256, settings.split, settings.seed, rules)
        self.fingerprint = hashlib.sha256(
            repr(everything).encode()
        ).hexdigest()  # of all that the batches depend on
        self.seed_key = mix64(settings.seed & MASK64)
        ranges = [split_documents(len(corpus.documents) - 1, settings.split) for corpus in self.corpora]
        self._splits = {
            name: self._make_split(number, name, [part[number] for part in ranges], identities)
            for number, name in enumerate(SPLITS)
        }
        if not any(len(part) for part in self._splits.values()):
            raise UserError(
                f"no samples in {', '.join(c.prefix for c in self.corpora)}; prepare a corpus with text"
            )

    def __getitem__(self, name: str) -> "Split":
        if name not in SPLITS:
            raise UserError(f"split {name!r} is unknown; choose one of {', '.join(SPLITS)}")
        return self._splits[name]

    def report(self) -> dict[str, dict[str, int]]:
        """Counts per split: documents, sentences, tokens, samples, what was split, cut or dropped."""
        return {name: part.report() for name, part in self._splits.items()}

    def _make_split(self, number, name, ranges, identities) -> "Split":
        tables = [self._table(c, first, last, identities[c], name) for c, (first, last) in enumerate(ranges)]
        sizes = np.array([len(table) for table in tables], dtype=np.int64)
        blend = Blend(sizes, epoch_shares(sizes, self.weights), fold(self.seed_key, number))
        masking_rules = self.masking_rules
        if name != "train":
            masking_rules = dataclasses.replace(masking_rules, stages=((0, masking_rules.stages[-1][1]),))
        return Split(name, self, tables, ranges, masking_rules, blend)

    def _table(self, c, first, last, identity, name) -> np.ndarray:
        corpus, rules = self.corpora[c], self.sample_rules
        key = fold(fold(self.seed_key, len(SPLITS)), c)
        settings = digest(first, last, rules, key)

        def build():
            fast = native.helpers()
            make = fast.build_samples if fast else build_samples
            return make(corpus, self.tokens, first, last, rules, key)

        def fits(table):
            return table_fits(corpus, table, rules)

        data = digest(identity, self.vocabulary.sha256)
        table = load_or_build(corpus.prefix, settings, data, build, fits, self.cache_dir)
        if rules.sentence_pairs == "nsp" and len(table) and table["document"][0] == table["document"][-1]:
            raise UserError(
                f"sentence_pairs=nsp needs two documents, but the {name} split of {corpus.prefix} has one; "
                "use sop, or another split"
            )
        return table


class Split:
    """One of train, valid and test; `len` is the number of samples in an epoch."""

    def __init__(
        self, name, data: PretrainingData, tables, ranges, masking_rules: MaskingRules, blend: Blend
    ):
        self.name, self.tables, self.masking_rules, self.blend = name, tables, masking_rules, blend
        self._ranges, self._corpora, self._sample_rules = ranges, data.corpora, data.sample_rules
        self._sampler = make_sampler(
            data.corpora, tables, data.tokens, data.sample_rules, masking_rules, blend, data.max_seq_len
        )

    def __len__(self) -> int:
        return len(self.blend)

    def batch(self, sample_numbers) -> dict:
        """The masked batch of the given samples, always the same for the same numbers.

        Args:
            sample_numbers: [B] whole numbers; number n is sample n % len of epoch n // len.

        Returns:
            Arrays: input_ids [B, L] int64, token_type_ids [B, L] int64, attention_mask [B, L] int64 (1 token,
            0 padding) or None when nothing is padded, masked_positions [M] int64 flat into B x L,
            masked_lm_labels [M] int64, masked_span_kinds [M] uint8 (entity type or 0), next_sentence_label
            [B] int64 (absent for sentence_pairs="none"). L is the longest row rounded up to a multiple of 8,
            at most max_seq_len.

        Raises:
            UserError: the split is empty, a number is out of range, or an id is beyond the vocabulary.
        """
        numbers = np.asarray(sample_numbers)
        whole = numbers.ndim == 1 and numbers.size and np.issubdtype(numbers.dtype, np.integer)
        if not whole or numbers.min() < 0 or numbers.max() > LAST_NUMBER:
            raise UserError("sample numbers must be a row of whole numbers, at least one, none negative")
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
        parts = [
            count_samples(corpus, table, first, last, self._sample_rules)
            for corpus, table, (first, last) in zip(self._corpora, self.tables, self._ranges, strict=True)
        ]
        return {name: sum(part[name] for part in parts) for name in parts[0]}
