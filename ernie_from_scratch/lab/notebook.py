"""What notebooks need besides their subject: classes written over several cells, pictures, interactive pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.figures import png_bytes

if TYPE_CHECKING:
    from IPython.display import Image
    from ipywidgets import VBox
    from matplotlib.figure import Figure


def method_of(owner: type) -> Callable[[Any], Any]:
    """Decorator that adds the function below it to a class begun in an earlier cell.

    A long class can thus be written and explained method by method; `super()` needs its arguments there.
    """

    def add(method: Any) -> Any:
        setattr(owner, method.__name__, method)
        return method

    return add


def show(figure: Figure, dots_per_inch: int = 120) -> Image:
    """The figure as an image for the output of a cell, sharp on high-resolution screens too.

    Raises:
        UserError: IPython is missing.
    """
    try:
        from IPython.display import Image
    except ImportError:
        raise UserError("no IPython: a notebook's pictures need it; pip install jupyterlab") from None
    return Image(png_bytes(figure, dots_per_inch), format="png", width=_width(figure))


def _width(figure: Figure) -> int:
    """Width in the notebook in CSS pixels: 100 for each inch."""
    return round(figure.get_size_inches()[0] * 100)


def explore(draw: Callable[..., Figure], **controls: Any) -> VBox:
    """A picture below ipywidgets controls; it is drawn again whenever the value of a control changes.

    The picture is a widget too. `ipywidgets.interact` uses an output widget instead, which tools without a browser
    (nbconvert, nbval) can only imitate, and sometimes wait for until they time out.

    Args:
        draw: called with the values of the controls by name; returns the figure.
        controls: name -> widget with a `value`.
    """
    import ipywidgets

    class Explorer(ipywidgets.VBox):
        def __repr__(self) -> str:
            return f"a picture that follows {', '.join(controls)}"

    picture = ipywidgets.Image(format="png", layout={"object_fit": "contain", "object_position": "left"})

    def update(_: Any = None) -> None:
        figure = draw(**{name: control.value for name, control in controls.items()})
        picture.width = str(_width(figure))
        picture.value = png_bytes(figure, 120)

    for name, control in controls.items():
        control.description = control.description or name
        control.observe(update, "value")
    update()
    return Explorer([*controls.values(), picture])
