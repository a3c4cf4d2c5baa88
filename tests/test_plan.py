"""The command `ernie plan`."""

import json

import pytest

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import ErnieConfig

BIG = ["plan", "--config", "ernie_230b", "--gpus", "256", "--gpu", "v100-32g", "--global_batch_size", "4096",
       "--max_seq_len", "512"]  # fmt: skip
SMALL = ["plan", "--config", "ernie_base", "--gpus", "8", "--gpu", "a100-80g", "--global_batch_size", "256",
         "--max_seq_len", "512"]  # fmt: skip


def test_json_is_a_list_best_first(capsys):
    assert main([*BIG, "--json", "--tokens", "3e11", "--price_per_gpu_hour", "1.5"]) == 0
    plans = json.loads(capsys.readouterr().out)
    wanted = """dp_degree sharding_degree mp_degree pp_degree micro_batch_size memory_gib step_seconds
        tokens_per_second feasible reason days cost_per_million_tokens""".split()
    assert all(set(wanted) <= plan.keys() for plan in plans)
    fitting = [plan for plan in plans if plan["feasible"]]
    assert fitting == plans[: len(fitting)]
    assert [p["step_seconds"] for p in fitting] == sorted(p["step_seconds"] for p in fitting)
    best = plans[0]
    assert best["reason"] == "fastest that fits" and best["memory_gib"] <= best["available_gib"] == 30
    assert sum(best["seconds"].values()) == pytest.approx(best["step_seconds"])
    assert sum(best["memory_parts_gib"].values()) == pytest.approx(best["memory_gib"])
    assert best["days"] == pytest.approx(3e11 / best["tokens_per_second"] / 86400)
    published = [(p["dp_degree"], p["sharding_degree"], p["mp_degree"], p["pp_degree"], p["micro_batch_size"])
                 for p in fitting].index((1, 4, 2, 32, 8))  # fmt: skip
    assert published < 7


def test_all_lists_every_combination(capsys):
    main([*SMALL, "--json"])
    best = json.loads(capsys.readouterr().out)
    main([*SMALL, "--json", "--all"])
    everything = json.loads(capsys.readouterr().out)
    assert len(everything) > 5 * len(best) and everything[0] == best[0]


def test_the_tables(capsys):
    assert main([*BIG, "--top", "3", "--tokens", "3e11"]) == 0
    out = capsys.readouterr().out
    wanted = (
        "232,625,780,018 parameters",
        "Best 3 of",
        "days",
        "Memory of the first plan by pipeline stage",
        "bubble",
    )
    wanted += ("activations with recompute", "tensor parallel", "sharding", "Not possible", "too much")
    for text in wanted:
        assert text in out
    assert "in host memory" in out, "the first plan offloads the optimizer state"


def test_degrees_can_be_fixed(capsys):
    assert (
        main([*BIG, "--mp_degree", "2", "--pp_degree", "32", "--sharding_degree", "4", "--all", "--json"])
        == 0
    )
    plans = json.loads(capsys.readouterr().out)
    assert {(p["dp_degree"], p["sharding_degree"], p["mp_degree"], p["pp_degree"]) for p in plans} == {
        (1, 4, 2, 32)
    }
    assert [p["micro_batch_size"] for p in plans if not p["feasible"]] == [16, 32, 64]


def test_nothing_fits(capsys):
    """Exit code 1, and by how much memory is exceeded."""
    argv = [*BIG]
    argv[argv.index("256")] = "8"
    assert main(argv) == 1
    out = capsys.readouterr().out
    assert "No plan fits" in out and "GiB too much on stage" in out
    assert main([*argv, "--json"]) == 1
    assert not any(plan["feasible"] for plan in json.loads(capsys.readouterr().out))


def test_a_config_file(tmp_path, capsys):
    ErnieConfig.preset("tiny", num_hidden_layers=3).save(tmp_path)
    argv = [*SMALL]
    argv[argv.index("ernie_base")] = str(tmp_path / "config.json")
    assert main(argv) == 0
    assert "3 layers x 128" in capsys.readouterr().out


def test_explain(capsys):
    assert main(["plan", "--explain"]) == 0
    out = capsys.readouterr().out
    for source in (
        "Narayanan et al. 2021",
        "Korthikanti et al. 2022",
        "Rajbhandari et al. 2020",
        "data sheet",
    ):
        assert source in out
    assert max(map(len, out.split("\n\n  v100")[0].splitlines())) <= 120


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--config", "ernie_230"],
            "unknown model: ernie_230 (no config.json either); did you mean ernie_230b?",
        ),
        (["--config", "no/config.json"], "no configuration: no/config.json"),
        (["--gpu", "v100"], "unknown GPU: v100"),
        (["--gpus", "12"], "partly filled machine: --gpus 12"),
        (["--gpus", "many"], "--gpus is 'many'; give a whole number"),
        (["--precision", "bf16"], "no bf16: v100-32g"),
        (["--precision", "fp8"], "--precision is 'fp8'; give one of fp16, bf16"),
        (["--max_seq_len", "1024"], "the model has 512 positions"),
        (["--global_batch_size", "0"], "--global_batch_size is 0"),
        (["--masked_lm_prob", "1.5"], "--masked_lm_prob is 1.5"),
        (["--tokens", "-1"], "--tokens is -1.0"),
        (["--mp_degree", "3"], "no such plan: --mp_degree 3"),
    ],
)
def test_mistakes_are_one_line(capsys, change, message):
    assert main([*BIG, *change]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and message in err


def test_a_missing_flag_is_named(capsys):
    assert main(["plan", "--config", "ernie_base"]) == 2
    assert "error: --gpus is missing" in capsys.readouterr().err
