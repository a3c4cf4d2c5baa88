"""A font with Chinese glyphs for every picture: Noto Sans SC, which comes with the package zhplot."""

import functools
import importlib.util
import logging
from pathlib import Path

from ernie_from_scratch.config import UserError

# Fonts of common systems, used if zhplot is missing.
SYSTEM_FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
)


def use_chinese_font() -> str:
    """Let matplotlib draw text in a font with Chinese glyphs; returns the name of the font family.

    Raises:
        UserError: matplotlib is missing, or neither zhplot nor the system has such a font.
    """
    family = chinese_font()
    import matplotlib

    matplotlib.rcParams["font.family"] = "sans-serif"
    matplotlib.rcParams["font.sans-serif"] = [family, "DejaVu Sans"]  # the second for glyphs the first lacks
    return family


@functools.cache
def chinese_font() -> str:
    """Name of the font family, registered with matplotlib; raises like `use_chinese_font`."""
    # no message when matplotlib lists the fonts for the first time
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
    try:
        from matplotlib import font_manager
    except ImportError:
        raise UserError("no matplotlib: pictures need it; pip install matplotlib") from None
    path = packaged_font()
    if path:
        font_manager.fontManager.addfont(path)
        return font_manager.FontProperties(fname=path).get_name()
    installed = {font.name for font in font_manager.fontManager.ttflist}
    for family in SYSTEM_FAMILIES:
        if family in installed:
            return family
    raise UserError("no font with Chinese glyphs: pictures would show empty boxes; pip install zhplot")


def packaged_font() -> Path | None:
    """The font file inside zhplot. The package is not imported, since that changes matplotlib's settings."""
    spec = importlib.util.find_spec("zhplot")
    if spec is None or not spec.origin:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("fonts/*.[ot]tf"))), None)
