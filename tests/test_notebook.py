"""The notebooks' helpers: methods that join a class later, and pictures of the right kind."""

import struct

from ernie_from_scratch.lab.notebook import method_of, show
from ernie_from_scratch.lab.theme import LIGHT, new_figure


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
