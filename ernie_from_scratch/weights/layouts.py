"""The layouts of model folders that `ernie convert` writes. Importing this module is cheap; `--help` lists them.

paddlenlp     config.json, model_state.pdparams
huggingface   config.json, model.safetensors
static        config.json, static_vars.pdparams: as paddle.static.save writes it
persistables  config.json, static_vars/ with one file per variable: as save_persistables writes it
"""

LAYOUTS = ("paddlenlp", "huggingface", "static", "persistables")
LAYOUT_ALIASES = {"dynamic": "paddlenlp"}
LAYOUT_CHOICES = (*LAYOUTS, *LAYOUT_ALIASES)
