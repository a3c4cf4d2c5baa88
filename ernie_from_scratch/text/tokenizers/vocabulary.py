"""The tokens of a model and their ids, and how to build a vocabulary from text the ERNIE way."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.settings import VocabularySettings
from ernie_from_scratch.text.tokenizers.basic import BasicTokenizer, is_han, is_punctuation
from ernie_from_scratch.utils.files import atomic_write, check_readable

SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
VOCABULARY_FILE = "vocab.txt"
PUBLISHED_NAMES = ("ernie", "rocketqa", "uie", "utc")  # prefixes of the names that PaddleNLP knows
TRAINER_WORDS = 5_000_000  # running words that the WordPiece trainer sees; larger counts are scaled down


def is_continuation(token: str) -> bool:
    """Whether the token continues a word: a `##` form."""
    return token.startswith("##") and len(token) > 2


def surface(token: str) -> str:
    """The characters that a token stands for: without the `##` of a continuation."""
    return token[2:] if is_continuation(token) else token


class Vocabulary:
    """Tokens and their ids, 0 to len - 1; `tokens[i]` has id i.

    A token that is listed twice has its last id, as in PaddleNLP.

    Args:
        source: where the tokens come from, for error messages.

    Raises:
        UserError: one of [PAD], [CLS], [SEP], [MASK], [UNK] is missing.
    """

    def __init__(self, tokens: Iterable[str], source: str = "the given tokens"):
        self.tokens = list(tokens)
        self.source = str(source)
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        missing = [token for token in SPECIAL_TOKENS if token not in self._ids]
        if missing:
            raise UserError(
                f"not an ERNIE vocabulary: {self.source} has no {', '.join(missing)}; add a line for each"
            )
        self.pad_id, self.cls_id, self.sep_id, self.mask_id, self.unk_id = (
            self._ids[t] for t in SPECIAL_TOKENS
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def id_of(self, token: str) -> int:
        """Id of `token`, or of [UNK] when the vocabulary does not have it."""
        return self._ids.get(token, self.unk_id)

    @property
    def special_ids(self) -> tuple[int, ...]:
        return tuple(self._ids[token] for token in SPECIAL_TOKENS)

    @property
    def sha256(self) -> str:
        """Checksum of the tokens in order, regardless of the format of the file that they came from."""
        return hashlib.sha256("\n".join(self.tokens).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def duplicates(self) -> int:
        """Number of ids without a token, because the token is listed again further down."""
        return len(self.tokens) - len(self._ids)

    def missing_continuations(self) -> list[str]:
        """`##` forms that the vocabulary lacks, of its Han characters in U+4E00 to U+9FA5.

        Vocabularies since ERNIE 3.0 lack them. PaddleNLP's ernie-1.0 tools number them from len - duplicates
        on (`extend_chinese_char`). Only prepared corpora hold these ids.
        """
        han = (token for token in self.tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fa5")
        return [form for form in map("##{}".format, han) if form not in self._ids]

    def with_continuations(self) -> "Vocabulary":
        """The token of each id in a corpus prepared with PaddleNLP's `##` forms.

        Where its numbers overlap with the vocabulary's ([UNK] and ##的 are both 39979 in ERNIE 3.0's), the
        token is that of the vocabulary.
        """
        return Vocabulary([*self.tokens, *self.missing_continuations()[self.duplicates :]], self.source)

    def save(self, path: str | os.PathLike) -> Path:
        """Writes one token per line, to `vocab.txt` if `path` is a folder. Returns the file's path."""
        path = Path(path)
        path = path / VOCABULARY_FILE if path.is_dir() else path
        with atomic_write(path) as temporary:
            temporary.write_bytes("".join(f"{token}\n" for token in self.tokens).encode("utf-8"))
        return path

    @classmethod
    def load(cls, name: "str | os.PathLike | Vocabulary") -> "Vocabulary":
        """Reads a file, the `vocab.txt` of a folder, or a published model's vocabulary (through PaddleNLP).

        Lines are "token" or "token<TAB>id" with ids 0, 1, 2 … in order.

        Raises:
            UserError: there is no such vocabulary, or it cannot be read.
        """
        if isinstance(name, Vocabulary):
            return name
        path = Path(name)
        if path.is_dir():
            path = path / VOCABULARY_FILE
        elif not path.exists() and os.sep not in str(name) and not path.suffix == ".txt":
            return _published(str(name))
        check_readable(path)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"not UTF-8: vocabulary {path}; convert it to UTF-8") from error
        return cls(_tokens_of(text, path), source=str(path))


def _tokens_of(text: str, path: Path) -> list[str]:
    # splitlines() would also split at U+2028, a token of BERT's
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise UserError(f"empty vocabulary: {path}; give one token per line")
    if not all("\t" in line for line in lines):
        return lines
    tokens = []
    for number, line in enumerate(lines):
        token, _, given = line.rpartition("\t")
        if given.strip() != str(number):
            raise UserError(f"ids out of order: {path} line {number + 1} has {given!r}; expected {number}")
        tokens.append(token)
    return tokens


def _published(name: str) -> Vocabulary:
    """The vocabulary of a model that PaddleNLP knows, downloaded to its cache on first use."""
    unknown = UserError(
        f"no such vocabulary: {name}; give a file, a model folder or the name of a published model, such as "
        "ernie-1.0-base-zh"
    )
    if not name.startswith(PUBLISHED_NAMES):
        raise unknown
    try:
        from paddlenlp.transformers import ErnieTokenizer
    except ImportError as error:
        raise UserError(
            f'cannot download vocabulary: {name}; run `pip install "ernie_from_scratch[paddlenlp]"`, '
            "or give a file"
        ) from error
    if name not in ErnieTokenizer.pretrained_resource_files_map["vocab_file"]:
        raise unknown
    try:
        numbered = ErnieTokenizer.from_pretrained(name).vocab.idx_to_token
    except Exception as error:  # PaddleNLP raises whatever its download library raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot download vocabulary: {name} ({reason}); download vocab.txt and give its path"
        ) from error
    # an id without a token: the token is listed twice
    tokens = [numbered.get(number, f"[unused{number}]") for number in range(max(numbered) + 1)]
    return Vocabulary(tokens, source=name)


def build_vocabulary(
    texts: Iterable[str],
    size: int = VocabularySettings.size,
    min_count: int = VocabularySettings.min_count,
    do_lower_case: bool = VocabularySettings.do_lower_case,
) -> Vocabulary:
    """A vocabulary from text: special tokens, Han characters, their `##` forms, other symbols, WordPiece.

    Every Han character seen `min_count` times gets a token and a `##` form, which continues a word. Then
    come punctuation and symbols, as far as `size` allows. The rest are word pieces of the words written
    without Han (Latin, digits, kana …), trained with Hugging Face tokenizers. Within each group tokens are
    ordered by frequency, so that equal text gives an equal vocabulary. If `size` is too small, the rarest Han
    characters are left out first.

    Raises:
        UserError: there is no text, or `size` is too small for more than the special tokens.
    """
    basic = BasicTokenizer(do_lower_case=do_lower_case)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(basic.words(text))
    if not counts:
        raise UserError("no text to build a vocabulary from; give files with text")

    def by_frequency(words: Iterable[str]) -> list[str]:
        frequent = (word for word in words if counts[word] >= min_count)
        return sorted(frequent, key=lambda word: (-counts[word], word))

    han = by_frequency(word for word in counts if is_han(word[0]))
    symbols = by_frequency(word for word in counts if len(word) == 1 and is_punctuation(word))
    available = size - len(SPECIAL_TOKENS)
    if available < 1:
        raise UserError(f"vocabulary too small: size {size}; give more than {len(SPECIAL_TOKENS)}")
    if 2 * len(han) + len(symbols) > available:
        symbols = symbols[: available // 10]
        han = han[: (available - len(symbols)) // 2]
    tokens = [*SPECIAL_TOKENS, *han, *symbols]
    tokens += [f"##{char}" for char in han]
    words = {
        word: n
        for word, n in counts.items()
        if not is_han(word[0]) and not (len(word) == 1 and is_punctuation(word))
    }
    tokens += train_wordpiece(words, size - len(tokens), min_count)
    return Vocabulary(tokens, source="text")


def train_wordpiece(words: dict[str, int], size: int, min_count: int = 2) -> list[str]:
    """At most `size` word pieces, trained on counted words with Hugging Face tokenizers."""
    words = {word: count for word, count in sorted(words.items()) if count >= min_count}
    letters, inner = Counter(), Counter()  # running count of each letter, anywhere and not at the start
    for word, count in words.items():
        letters.update(dict.fromkeys(word, count))
        inner.update(dict.fromkeys(word[1:], count))
    kept = sorted(letters, key=lambda char: (-letters[char], char))[: size // 4]
    words = {word: count for word, count in words.items() if set(word).issubset(kept)}
    if not words:
        return []
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    model = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # pyright: ignore[reportCallIssue]
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = sorted(kept) + [f"##{char}" for char in sorted(kept) if inner[char]]
    # The trainer numbers letters in the order of a hash map and breaks ties between merges by these numbers.
    # Passed as special tokens, they have the same numbers in every run.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=alphabet,
        limit_alphabet=len(alphabet),
    )
    share = min(1.0, TRAINER_WORDS / sum(words.values()))
    model.train_from_iterator((f"{word} " * (round(n * share) or 1) for word, n in words.items()), trainer)
    vocabulary = model.get_vocab()
    return sorted(vocabulary, key=lambda piece: vocabulary[piece])[:size]
