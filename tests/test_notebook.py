"""The notebooks' helpers: methods that join a class later, and pictures of the right kind."""

import struct

import pytest

from ernie_from_scratch.lab.figures import new_figure
from ernie_from_scratch.lab.notebook import explore, method_of, show
from ernie_from_scratch.lab.theme import LIGHT


class Half:
    def __init__(self, number):
        self.number = number


def test_a_method_joins_its_class():
    @method_of(Half)
    def double(self):
        return 2 * self.number

    @method_of(Half)
    @classmethod
    def seven(cls):
        return cls(7)

    assert Half.seven().double() == 14 and double(Half(2)) == 4


def test_a_picture_is_shown_at_its_size_and_finer():
    figure, _ = new_figure(LIGHT, 3, 1)
    image = show(figure, dots_per_inch=150)
    width, height = struct.unpack(">II", image.data[16:24])
    assert (width, height) == (450, 150) and image.width == 300


def test_the_explored_picture_follows_its_controls():
    ipywidgets = pytest.importorskip("ipywidgets")
    drawn = []

    def draw(place, name):
        drawn.append((place, name))
        return new_figure(LIGHT, 2 + place, 1)[0]

    slider, choice = ipywidgets.IntSlider(1, 0, 5), ipywidgets.Dropdown(options=["a", "b"])
    box = explore(draw, place=slider, name=choice)
    picture = box.children[-1]
    first = picture.value
    slider.value, choice.value = 3, "b"
    assert drawn == [(1, "a"), (3, "a"), (3, "b")]
    assert picture.width == "500" and picture.value != first
    assert [control.description for control in box.children[:-1]] == ["place", "name"]
    assert repr(box) == "a picture that follows place, name", "no bytes in a notebook's text output"
