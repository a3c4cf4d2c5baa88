"""`ernie vocab`."""

from ernie_from_scratch.text.settings import VocabularySettings

HELP = """Build a vocabulary from text the ERNIE way

Special tokens first, then every Han character that is frequent enough, punctuation and symbols, the ## forms
of the Han characters, and WordPiece pieces of everything written with letters and digits.

Example:
  ernie vocab --input texts/ --size 18000 --output vocab.txt
"""

SETTINGS = VocabularySettings


def run(settings: VocabularySettings) -> None:
    settings.check()
    from ernie_from_scratch.text.corpus.reading import read_texts
    from ernie_from_scratch.text.tokenizers.vocabulary import build_vocabulary

    texts = read_texts(settings.input, settings.format, settings.json_key)
    vocabulary = build_vocabulary(texts, settings.size, settings.min_count, settings.do_lower_case)
    print(f"{len(vocabulary)} tokens in {vocabulary.save(settings.output)}")
