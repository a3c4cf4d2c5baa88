"""What a notebook needs beside its subject: classes written over several cells, pictures, pictures to play with."""

from ernie_from_scratch.config import UserError
from ernie_from_scratch.lab.theme import png_bytes


def method_of(owner: type):
    """Decorator that adds the function below it to a class begun in an earlier cell.

    A long class can so be written and explained method by method; `super()` needs its arguments there.
    """

    def add(method):
        setattr(owner, method.__name__, method)
        return method

    return add


def show(figure, dots_per_inch: int = 120):
    """The matplotlib figure as a picture for the output of a cell, sharp on a dense screen too.

    Raises:
        UserError: IPython is missing.
    """
    try:
        from IPython.display import Image
    except ImportError:
        raise UserError("no IPython: a notebook's pictures need it; pip install jupyterlab") from None
    width = round(figure.get_size_inches()[0] * 100)
    return Image(png_bytes(figure, dots_per_inch), format="png", width=width)


def explore(draw, **controls):
    """A picture under ipywidgets controls; `draw`, called with the controls' values by name, gives its figure.

    The picture is a widget itself. `ipywidgets.interact` puts outputs into a widget instead, which tools without
    a browser (nbconvert, nbval) can only imitate, and sometimes wait for in vain.
    """
    import ipywidgets

    class Explorer(ipywidgets.VBox):
        def __repr__(self):
            return f"a picture that follows {', '.join(controls)}"

    picture = ipywidgets.Image(format="png", layout={"object_fit": "contain", "object_position": "left"})

    def update(_=None):
        figure = draw(**{name: control.value for name, control in controls.items()})
        picture.width = str(round(figure.get_size_inches()[0] * 100))
        picture.value = png_bytes(figure, 120)

    for name, control in controls.items():
        control.description = control.description or name
        control.observe(update, "value")
    update()
    return Explorer([*controls.values(), picture])
