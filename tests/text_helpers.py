"""A little text, a vocabulary for it, and slow plain versions to compare with."""

import functools
import json
import os
from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st

from ernie_from_scratch.text.corpus.encoding import PythonEncoder
from ernie_from_scratch.text.corpus.native_encoding import NativeEncoder
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, build_vocabulary

PARAGRAPHS = [
    "哈尔滨是黑龙江的省会，国际冰雪文化名城。每年冬天，许多人来看冰灯！你去过吗？",
    "通过利用mercer核，将样本从输入空间映射到高维特征空间，使原来没有显现的特征突现出来。",
    "他说：“今天天气很好。”我们去了南京市长江大桥；后来又看了3.14米高的雕像……真高。",
    "The quick brown fox jumps over 13 lazy dogs in 2008, e.g. iPhone15 and C++ users (100%).",
    "研究生命的起源是一个有趣的问题。北京大学和清华大学的学生都在研究生物学。",
]
TEXT = "\n\n".join(PARAGRAPHS) + "\n"

# Characters that have hurt tokenizers: accents, case with two letters, joined and wide forms, half of a pair.
STRANGE = (
    "éÉİıßΣσς\u0301\u0345\u0338ÅåＡ１㎡①〇々ー가힣ㄱ\u3000\u2028\u200b\ufeff\x00\x1c\x85\ufffd𠀀\ud800🙂豈¼"
)


@functools.cache
def small_vocabulary() -> Vocabulary:
    return build_vocabulary(PARAGRAPHS * 3 + ["中国人民的生活", "世界 world words wording"] * 2, size=900)


def texts(max_size: int = 60):
    """Hypothesis strategy: text that mixes what real text has with what it should not have."""
    pieces = st.one_of(
        st.sampled_from(
            [*PARAGRAPHS, "[MASK]", "[UNK]", "[SEP", "中华人民共和国", "##", "\r\n", "。”", "……", " ", "a1"]
        ),
        st.text(
            st.sampled_from(
                "的一是了我不在人们有来他这上着个地到大里说就去子得也和那要下看天时过出小么起你都把好"
            ),
            max_size=8,
        ),
        st.text(st.sampled_from(STRANGE), max_size=4),
        st.text(st.characters(exclude_categories=()), max_size=6),
        st.text(st.sampled_from("abcXYZ0123456789+#&._%-，。！？；…「」"), max_size=8),
    )
    return st.lists(pieces, max_size=8).map("".join)


@st.composite
def marked_texts(draw):
    """(text, spans) with any kinds of spans, overlapping ones too."""
    text = draw(texts())
    if not text:
        return text, []
    edges = st.integers(0, len(text))
    drawn = draw(st.lists(st.tuples(edges, edges, st.integers(1, 8)), max_size=5))
    return text, [(min(a, b), max(a, b), kind) for a, b, kind in drawn if a != b]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def both_encode_alike(slow, fast, marked, *rules) -> bool:
    """Whether the plain and the C++ encoder, with segmenters `slow` and `fast`, make the same of (text, spans)."""
    encoders = (
        PythonEncoder(small_vocabulary(), slow, *rules),
        NativeEncoder(small_vocabulary(), fast, *rules),
    )
    for encoder in encoders:
        for text, spans in marked:
            encoder.add_text(text)
            encoder.end_document()
            encoder.add_sentence(text, spans)
        encoder.end_document()
    a, b = (encoder.take() for encoder in encoders)
    names = ("ids", "bits", "lens", "docs")
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)
        and a.long_sentences == b.long_sentences
    )


def prepared_bytes(prefix) -> list[bytes]:
    """The files of a prepared corpus, but for its meta, byte for byte."""
    return [open(f"{prefix}{suffix}", "rb").read() for suffix in ("_ids.npy", "_idx.npz", "_spans.npy")]


@contextmanager
def without_cpp():
    before = os.environ.get("EFS_NO_CPP")
    os.environ["EFS_NO_CPP"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["EFS_NO_CPP"]
        else:
            os.environ["EFS_NO_CPP"] = before
