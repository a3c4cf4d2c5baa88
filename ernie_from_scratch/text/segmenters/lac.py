"""Baidu's LAC (Jiao et al. 2018): a network for words, and for names of people, places, organisations and times.

Runs the model of the LAC package with paddle.inference; the code of that package needs an old Paddle and is
not used. The input of the network are words of LAC's small dictionary, and single characters for the rest.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.segmenters.dictionary import DictionarySegmenter, Entity

# LAC's tags of entities; nw are titles of works, nz other proper nouns.
TAG_TYPES = {"PER": "PER", "LOC": "LOC", "ORG": "ORG", "TIME": "TIME", "nw": "WORK", "nz": "OTHER"}
MAX_INPUT_LENGTH = 1000  # characters; a longer sentence is split


class LacSegmenter:
    """Words and entities of LAC's `lac` mode.

    `model` is the folder `lac_model` of the LAC package, or the package's folder; by default the installed
    one. Raises UserError if it is missing or damaged.
    """

    name = "lac"

    def __init__(self, model: str | os.PathLike | None = None):
        folder = _find_model(model)
        conf = folder / "conf"
        self._numbers = {word: int(number) for number, word in _pairs(conf / "word.dic")}
        self._replacements = dict(_pairs(conf / "q2b.dic"))
        self._tags = {int(number): tag for number, tag in _pairs(conf / "tag.dic")}
        self._unknown = self._numbers["OOV"]
        self._input_segmenter = _small_dictionary(conf / "small_seg.dic")
        self._predictor = _predictor(folder / "model")
        self._last_result: tuple[str, list[str], list[str]] = ("", [], [])  # text, words, tags

    def words(self, text: str) -> list[str]:
        return self._run(text)[0]

    def entities(self, text: str, words: list[str]) -> list[Entity]:
        entities, position = [], 0
        for word, tag in zip(*self._run(text), strict=True):
            if tag in TAG_TYPES:
                entities.append((position, position + len(word), TAG_TYPES[tag]))
            position += len(word)
        return entities

    def _run(self, text: str) -> tuple[list[str], list[str]]:
        """Words and the tag of each; the last result is cached, for `entities` after `words`."""
        if text != self._last_result[0]:
            words, tags = [], []
            for start in range(0, len(text), MAX_INPUT_LENGTH):
                chunk_words, chunk_tags = self._run_short(text[start : start + MAX_INPUT_LENGTH])
                words += chunk_words
                tags += chunk_tags
            self._last_result = (text, words, tags)
        return self._last_result[1:]

    def _run_short(self, text: str) -> tuple[list[str], list[str]]:
        numbers, lengths = [], []
        for word in self._input_segmenter.words_of_block(text, hmm=False):
            for unit in [word] if word in self._numbers else word:
                numbers.append(self._numbers.get(self._replacements.get(unit, unit), self._unknown))
                lengths.append(len(unit))
        words, tags, position = [], [], 0
        for label, length in zip(self._predict(numbers), lengths, strict=True):
            tag, _, state = self._tags[label].rpartition("-")
            unit = text[position : position + length]
            if words and state not in ("B", "S"):
                words[-1] += unit
                tags[-1] = tag
            else:
                words.append(unit)
                tags.append(tag)
            position += length
        return words, tags

    def _predict(self, numbers: list[int]) -> list[int]:
        words = self._predictor.get_input_handle("words")
        words.reshape([len(numbers), 1])
        words.copy_from_cpu(np.array(numbers, np.int64).reshape(-1, 1))
        words.set_lod([[0, len(numbers)]])
        self._predictor.run()
        output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        return output.copy_to_cpu().ravel().tolist()


def _find_model(model: str | os.PathLike | None) -> Path:
    if model is None:
        package = find_spec("LAC")
        if package is None or package.origin is None:
            raise UserError(
                "no LAC model: the package LAC is not installed; install it (pip install --no-deps lac), "
                "or unpack its archive and name its folder lac_model with --lac_model"
            )
        model = Path(package.origin).parent
    for folder in (Path(model), Path(model) / "lac_model", Path(model) / "LAC" / "lac_model"):
        if (folder / "conf" / "word.dic").is_file() and (folder / "model").is_dir():
            return folder
    raise UserError(f"no LAC model: {model} has no conf/word.dic and model/; name LAC's folder lac_model")


def _predictor(folder: Path) -> Any:
    from paddle import inference

    config = inference.Config(str(folder))
    config.disable_glog_info()
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(1)
    try:
        return inference.create_predictor(config)
    except Exception as error:  # Paddle's own error classes
        raise UserError(f"damaged LAC model: {folder}; unpack the LAC package again") from error


def _pairs(path: Path) -> list[tuple[str, str]]:
    """The lines "a<TAB>b" of a file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"damaged LAC model: {path}; unpack the LAC package again") from error
    fields = [line.split("\t") for line in lines]
    return [(pair[0], pair[1]) for pair in fields if len(pair) == 2]


def _small_dictionary(path: Path) -> DictionarySegmenter:
    """LAC's first step: the weight of a word is its length, and every single character is a word."""
    counts = dict(line.split(" ") for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    weights = {char: 1 for word in counts for char in word} | {word: len(word) for word in counts}
    segmenter = DictionarySegmenter(weights.items())
    segmenter.total = sum(map(int, counts.values()))
    return segmenter
