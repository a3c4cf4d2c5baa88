"""lab/fonts.py: Chinese text is drawn with glyphs, not with the empty box of a missing one."""

import importlib.util
import io
import warnings

import matplotlib
import numpy as np
import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab import fonts


@pytest.fixture(autouse=True)
def settings_restored():
    with matplotlib.rc_context():
        yield
    fonts.chinese_font.cache_clear()


def picture(text):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.3, text, fontsize=30)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def test_each_character_has_its_own_glyph():
    assert fonts.use_chinese_font()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about a missing glyph
        pictures = [picture(text) for text in ("黑龙江", "哈尔滨", "−1.5 μ")]
    assert not np.array_equal(pictures[0], pictures[1])


def test_without_it_the_same_text_is_boxes():
    matplotlib.rcParams["font.family"] = ["DejaVu Sans"]
    with pytest.warns(UserWarning, match="missing from font"):
        assert np.array_equal(picture("黑龙江"), picture("哈尔滨"))


def test_font_of_the_system_is_second_choice(monkeypatch):
    monkeypatch.setattr(fonts, "packaged_font", lambda: None)
    monkeypatch.setattr(fonts, "SYSTEM_FAMILIES", ("No Such Family", "DejaVu Sans"))
    fonts.chinese_font.cache_clear()
    assert fonts.use_chinese_font() == "DejaVu Sans"


def test_no_font_at_all_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(fonts, "SYSTEM_FAMILIES", ())
    fonts.chinese_font.cache_clear()
    with pytest.raises(UserError, match="pip install zhplot"):
        fonts.use_chinese_font()
