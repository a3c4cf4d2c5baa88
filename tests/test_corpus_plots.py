"""Chapter 08's plots: what was drawn is read back from the figure."""

from collections import Counter

from ernie_from_scratch.lab import corpus_plots


def test_arcs_go_from_the_start_of_a_word_to_its_end():
    words = {(0, 2): "南京", (0, 3): "南京市", (2, 4): "市长"}
    ax = corpus_plots.word_lattice("南京市长", words, best=[(0, 2), (2, 4)]).axes[0]
    arcs = ax.lines[1:]
    assert [(round(line.get_xdata()[0]), round(line.get_xdata()[-1])) for line in arcs] == list(words)
    strong = [line.get_linewidth() > 2 for line in arcs]
    assert strong == [True, False, True]
    assert [text.get_text() for text in ax.texts] == [*"南京市长", *words.values()]


def test_ranks_fall_and_shares_sum_to_one_hundred():
    ax = corpus_plots.rank_frequency_curves({"characters": Counter("的的的一一是")}).axes[0]
    assert ax.lines[0].get_ydata().tolist() == [3, 2, 1]
    assert ax.get_legend().get_texts()[0].get_text() == "characters (3)"
    ax = corpus_plots.length_distribution({"words": [1, 1, 2, 4]}, "characters").axes[0]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert ax.lines[0].get_ydata().tolist() == [50, 25, 0, 25]
