"""The recipe's fact tables, the choice among them, and the wordings of every relation."""

from collections import Counter

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.recipe import (
    Fact,
    check_facts,
    choose_facts,
    load_facts,
    load_relations,
)
from ernie_from_scratch.text.recipe.patterns import Pattern, is_reserved, wording

SEED = 7


@pytest.fixture(scope="module")
def facts():
    return load_facts(relations=list(load_relations()))


@pytest.fixture(scope="module")
def chosen(facts):
    return choose_facts(facts, 600, seed=SEED)


# --- facts ----------------------------------------------------------------------------------------


def test_shipped_tables_are_large_and_have_one_answer_each(facts):
    counts = check_facts(facts)
    assert counts.total() >= 2000 and len(counts) >= 12
    assert len({(f.relation, f.subject) for f in facts}) == len(facts)
    assert set(counts) == set(load_relations()), "every table has patterns and every relation a table"


def test_some_facts_a_reader_can_check(facts):
    known = {(f.relation, f.subject): f.object for f in facts}
    assert known["province_capital", "黑龙江"] == "哈尔滨"
    assert known["country_capital", "法国"] == "巴黎"
    assert known["element_symbol", "铁"] == "Fe"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a\tb\n甲\t乙\n", "line 1"),
        ("subject\tobject\n甲\t乙\n丙\n", "line 3"),
        ("subject\tobject\n甲\t乙\t丙\n", "line 2"),
        ("subject\tobject\n甲\t\n", "line 2"),
        ("subject\tobject\n甲\t乙 \n", "line 2"),
        ("subject\tobject\n甲\t乙\n丁\t乙\n甲\t丙\n", "line 4"),
        ("", "line 1"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, content, what):
    (tmp_path / "river_sea.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"river_sea.tsv, {what}"):
        load_facts(tmp_path)


def test_missing_unreadable_and_unknown_tables(tmp_path):
    with pytest.raises(UserError, match="no fact tables"):
        load_facts(tmp_path)
    (tmp_path / "river_sea.tsv").write_bytes("subject\tobject\n长江\t东海\n".encode("gb18030"))
    with pytest.raises(UserError, match="not UTF-8"):
        load_facts(tmp_path)
    (tmp_path / "river_sea.tsv").write_text("subject\tobject\n长江\t东海\n", encoding="utf-8")
    assert load_facts(tmp_path) == [Fact("river_sea", "长江", "东海")]
    with pytest.raises(UserError, match="unknown relation"):
        load_facts(tmp_path, relations=["city_province"])


def test_check_facts_refuses_small_tables_and_double_answers():
    with pytest.raises(UserError, match="too few facts"):
        check_facts([Fact("river_sea", "长江", "东海")])
    with pytest.raises(UserError, match="two answers"):
        check_facts([Fact("river_sea", "长江", "东海"), Fact("river_sea", "长江", "黄海")])


@pytest.mark.parametrize(
    ("subject", "answer", "copyable"),
    [
        ("武汉大学", "武汉", True),
        ("墨西哥", "墨西哥城", True),
        ("新加坡", "新加坡", True),
        ("东南大学", "南京", False),
        ("氦", "He", False),
        ("阿根廷", "布宜诺斯艾利斯", False),
    ],
)
def test_copyable(subject, answer, copyable):
    assert Fact("r", subject, answer).copyable is copyable


def test_chosen_facts_are_balanced_and_reproducible(facts, chosen):
    assert chosen == choose_facts(facts, 600, seed=SEED) == choose_facts(facts[::-1], 600, seed=SEED)
    assert set(chosen) != set(choose_facts(facts, 600, seed=SEED + 1))
    assert len(set(chosen)) == 600 and set(chosen) <= set(facts) and not any(f.copyable for f in chosen)
    usable = Counter(f.relation for f in facts if not f.copyable)
    taken = Counter(f.relation for f in chosen)
    assert set(taken) == set(usable) and max(taken.values()) <= 150
    rates = [taken[r] / usable[r] for r in taken if taken[r] < 150]
    spread = max(abs(taken[r] - rates[0] * usable[r]) for r in taken if taken[r] < 150)
    assert spread <= 0.05 * 600, "relations below the cap are drawn in proportion"


def test_the_share_of_a_relation_is_capped():
    big = [Fact("a", f"甲{i}", f"乙{i}答") for i in range(900)]
    small = [Fact(r, f"{r}丙{i}", f"丁{i}答") for r in "bcdef" for i in range(60)]
    taken = Counter(f.relation for f in choose_facts(big + small, 200, seed=1))
    assert taken["a"] == 50 and sorted(taken.values())[:5] == [30] * 5
    with pytest.raises(UserError, match="cannot choose 500 facts"):
        choose_facts(big + small, 500, seed=1)


# --- patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", load_relations())
def test_every_relation_has_enough_wordings_in_both_orders(name):
    relation = load_relations()[name]

    def subject_first(pattern):
        return pattern.source.index("{s}") < pattern.source.index("{o}")

    assert len(relation.verbs) >= 8 and len(relation.held_out) >= 4
    assert {subject_first(v) for v in relation.verbs} == {True, False}
    assert len({subject_first(v) for v in relation.held_out}) == 2
    assert len(relation.prefixes) >= 8 and len(relation.suffixes) >= 8 and len(relation.questions) >= 3
    assert not {v.source for v in relation.verbs} & {h.source.rstrip("。") for h in relation.held_out}
    assert all(
        v.source.count(slot) == 1 for v in relation.verbs + relation.held_out for slot in ("{s}", "{o}")
    )


def test_held_out_wordings_use_only_characters_that_training_wordings_use():
    trained, asked = set(), {}
    for relation in load_relations().values():
        for pattern in (*(p.pattern for p in relation.prefixes), *relation.verbs, *relation.suffixes):
            trained |= set(pattern.letters)
        trained |= {character for noun, _ in relation.nouns for character in noun}
        for pattern in relation.held_out:
            asked[pattern.source] = set(pattern.letters)
    assert {source: letters - trained for source, letters in asked.items() if letters - trained} == {}


def test_rendering_knows_its_spans():
    spans = []
    text = Pattern("~{s}的[省会{n}]是{o}。").render(
        {"{s}": ("黑龙江", "LOC"), "{o}": ("哈尔滨", "LOC"), "{n}": ("城市", "")}, spans
    )
    assert text == "黑龙江的省会城市是哈尔滨。"
    assert [(text[a:b], kind) for a, b, kind in spans] == [
        ("黑龙江", "LOC"),
        ("省会城市", "PHRASE"),
        ("哈尔滨", "LOC"),
    ]
    assert wording(text, spans) == "L的省会城市是L。"
    with pytest.raises(UserError, match="bad pattern"):
        Pattern("{s}的[省会是{o}")


def test_nouns_follow_the_subject():
    relation = load_relations()["province_capital"]
    for subject, noun in (("贵州", "省会"), ("新疆", "首府")):
        text, _ = relation.render_patterns(Fact(relation.name, subject, "某地"), (Pattern("{s}的{n}是{o}"),))
        assert text == f"{subject}的{noun}是某地"


def test_reserved_triples_are_a_fixed_share():
    for relation in load_relations().values():
        reserved = [t for t in relation.triples if is_reserved(relation.name, t, SEED)]
        assert 0.08 < len(reserved) / len(relation.triples) < 0.16
        assert reserved != [t for t in relation.triples if is_reserved(relation.name, t, SEED + 1)]
    assert len({t for r in load_relations().values() for t in r.triples}) > 1000
