"""The settings of the package: every default, choice and bound is said once."""

import ast
import inspect
import textwrap
from dataclasses import fields

import pytest

from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.pretraining_data import PretrainingData
from ernie_from_scratch.dataset.samples import SampleRules
from ernie_from_scratch.dataset.settings import LEVELS, DataSettings
from ernie_from_scratch.deployment.export import export
from ernie_from_scratch.deployment.pipelines import pipeline
from ernie_from_scratch.deployment.server.app import serve
from ernie_from_scratch.deployment.settings import ExportSettings, PredictSettings, ServeSettings
from ernie_from_scratch.finetuning import tasks
from ernie_from_scratch.finetuning.evaluation import evaluate
from ernie_from_scratch.finetuning.settings import TASK_NAMES, EvaluateSettings, FinetuneSettings
from ernie_from_scratch.planner.counts import full_batch_flops
from ernie_from_scratch.planner.job import Job
from ernie_from_scratch.text.corpus.encoding import PythonEncoder
from ernie_from_scratch.text.corpus.native_encoding import NativeEncoder
from ernie_from_scratch.text.corpus.reading import read_documents, read_texts
from ernie_from_scratch.text.corpus.sentences import split_sentences
from ernie_from_scratch.text.segmenters.segmenter import make_segmenter
from ernie_from_scratch.text.settings import SEGMENTERS, SPLITTERS, EncodingSettings, VocabularySettings
from ernie_from_scratch.text.tokenizers.vocabulary import build_vocabulary
from ernie_from_scratch.training.optimizer import build_optimizer
from ernie_from_scratch.training.schedule import WarmupDecay
from ernie_from_scratch.training.settings import DECAY_KINDS, PretrainSettings, TrainSettings
from ernie_from_scratch.utils.settings import option_of, read_yaml


def parameters(function):
    """Parameters with a default: name -> (value, whether the source code has a literal there)."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if isinstance(tree, ast.ClassDef):  # a dataclass
        nodes = {n.target.id: n.value for n in tree.body if isinstance(n, ast.AnnAssign) and n.value}
    else:
        named = [*tree.args.posonlyargs, *tree.args.args]
        pairs = [*zip(named[::-1], tree.args.defaults[::-1], strict=False)]
        pairs += [(a, d) for a, d in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True) if d]
        nodes = {argument.arg: node for argument, node in pairs}
    values = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
    }
    return {name: (value, isinstance(nodes[name], ast.Constant)) for name, value in values.items()}


def test_literals_of_signatures_are_seen():
    def function(a, b=1, *, c=TrainSettings.max_lr, d=None):
        pass

    assert parameters(function) == {"b": (1, True), "c": (1e-4, False), "d": (None, True)}


OTHER_NAMES = {"splitter": "split_sentences", "name": "segmenter"}


@pytest.mark.parametrize(
    ("function", "settings_class"),
    [
        (PretrainingData.__init__, DataSettings),
        (MaskingRules, DataSettings),
        (SampleRules, DataSettings),
        (PythonEncoder.__init__, EncodingSettings),
        (NativeEncoder.__init__, EncodingSettings),
        (make_segmenter, EncodingSettings),
        (read_documents, EncodingSettings),
        (read_texts, EncodingSettings),
        (build_vocabulary, VocabularySettings),
        (evaluate, EvaluateSettings),
        (pipeline, PredictSettings),
        (serve, ServeSettings),
        (export, ExportSettings),
        (Job, DataSettings),
        (full_batch_flops, DataSettings),
    ],
)
def test_functions_take_their_defaults_from_the_settings(function, settings_class):
    known = {field.name: field.default for field in fields(settings_class)}
    compared = 0
    for name, (value, literal) in parameters(function).items():
        name = OTHER_NAMES.get(name, name)
        if name in known and name not in ("seed", "do_lower_case"):
            assert value == known[name], name
            assert not literal or value is None, f"{name}={value!r} is typed again"
            compared += 1
    assert compared


def test_blocks_of_the_notebooks_agree_with_the_settings():
    """WarmupDecay and build_optimizer are the notebook's own definitions, literals included."""
    known = TrainSettings()
    assert parameters(WarmupDecay.__init__)["kind"][0] == known.lr_decay_style
    defaults = parameters(build_optimizer)
    assert defaults["weight_decay"][0] == known.weight_decay
    assert defaults["grad_clip"][0] == known.grad_clip and defaults["beta2"][0] == known.adam_beta2


def test_choices_are_those_that_exist():
    options = {field.name: option_of(field) for field in fields(PretrainSettings)}
    assert options["masking"].choices == (*LEVELS, "knowledge")
    assert set(TASK_NAMES) == set(tasks.TASKS)
    for name in SEGMENTERS:
        if name in ("builtin", "none", "jieba"):
            assert make_segmenter(name)
    for kind in DECAY_KINDS:
        WarmupDecay(1.0, decay_steps=10, kind=kind)
    for splitter in SPLITTERS:
        assert split_sentences("一。二\n三", splitter)


def test_what_a_resumed_run_may_change():
    def resumable(cls):
        return {field.name for field in fields(cls) if option_of(field).resumable}

    shared = set(
        "output_dir checkpoint_steps save_steps keep logging_freq eval_freq num_workers device dp_degree "
        "sharding_degree mp_degree pp_degree virtual_pp_degree use_sharding sharding_stage offload share_folder "
        "use_recompute max_bad_steps".split()
    )
    assert resumable(TrainSettings) == shared
    assert resumable(PretrainSettings) == shared | {"eval_iters"}
    assert resumable(FinetuneSettings) == shared | {"test"}


def test_paths_need_not_agree_between_machines():
    settings = PretrainSettings(input_dir="d", output_dir="r", config_name="tiny").check()
    flags = settings.shared()
    assert flags["--max_lr"] == 1e-4 and "--masking" in flags and len(flags) > 40
    missing = {field.name for field in fields(settings)} - {name[2:] for name in flags}
    assert missing == set(
        "input_dir output_dir model_name_or_path ernie_config_file tokenizer_name_or_path".split()
    )


# config.yaml as commit 154e103 wrote it
OLD_FINETUNING = """\
task: seq_cls
model_name_or_path: m
from_scratch: false
train: a.tsv
dev: b.tsv
test: null
output_dir: o
max_seq_len: 128
batch_size: 32
learning_rate: 5.0e-05
num_train_epochs: 3
weight_decay: 0.01
warmup_ratio: 0.1
lr_scheduler_type: linear
max_grad_norm: 1.0
seed: 42
logging_steps: 10
device: null
"""


def test_an_old_fine_tuning_folder_is_understood(tmp_path):
    (tmp_path / "config.yaml").write_text(OLD_FINETUNING)
    earlier = read_yaml(tmp_path / "config.yaml")
    now = FinetuneSettings(model_name_or_path="m", train="a.tsv", dev="b.tsv", output_dir="o").check()
    assert now.differences(earlier) == {}  # its values are today's defaults
    assert FinetuneSettings.from_mapping(earlier).check() == now
    changed = FinetuneSettings.from_mapping({**earlier, "learning_rate": 1e-3, "batch_size": 16, "test": "t"})
    assert changed.differences(earlier) == {"micro_batch_size": 32, "max_lr": 5e-5}


def test_max_seq_len_has_one_help_and_its_own_defaults():
    helps = {
        option_of(cls.names()["max_seq_len"]).help
        for cls in (DataSettings, TrainSettings, PretrainSettings, FinetuneSettings)
    }
    assert len(helps) == 1 and PretrainSettings().max_seq_len == 512 and FinetuneSettings().max_seq_len == 128
