"""Draws docs/architecture.svg: the packages as import layers, and the path of a batch through them.

    python3 tools/draw_architecture.py

A test compares the file with this script, and LAYERS with the layers that import-linter checks.
"""

from html import escape
from pathlib import Path

LAYERS = {  # from top to bottom; a package imports only from those below it
    "commands": "one file per subcommand of ernie",
    "experiments": "the demo, the knowledge experiment",
    "diagnostics": "doctor, inspect, report, replay",
    "lab | jupyter_kernel": "pictures and widgets of the notebooks",
    "deployment": "export, backends, pipelines, server",
    "finetuning": "tasks and their scores",
    "training": "Trainer, checkpoints, metrics",
    "planner": "memory, time, search over degrees",
    "parallel": "processes, dp, sharding, mp, pp",
    "objectives": "batch → Loss(total, metrics)",
    "dataset": "sources, samples, masks, loader",
    "text": "corpora, tokenizers, segmenters",
    "weights": "file formats, names, conversion",
    "models": "networks: embed, layers, head",
    "utils": "atomic files, checksums, settings",
    "config | process_setup | native": "presets · environment · C++ helpers",
}
TOP, ROW, LEFT, FLOW, WIDTH = 76, 60, 36, 400, 1230
HEIGHT = TOP + ROW * len(LAYERS) + 16
HALF = 20  # of a box's height

STYLE = """\
.page { fill: #ffffff } .row { fill: #f1f4f9 } .title { fill: #1c2733 } .name { fill: #1c2733; font-weight: 600 }
.note { fill: #51606f } .box { fill: #dbe9fb; stroke: #3b74c1 } .data { fill: #fdf1d8; stroke: #b98516 }
.text { fill: #1c2733 } .arrow { stroke: #3d4c5c; fill: none } .head { fill: #3d4c5c }
@media (prefers-color-scheme: dark) {
.page { fill: #10161d } .row { fill: #1a232e } .title { fill: #e6edf5 } .name { fill: #e6edf5 }
.note { fill: #a4b3c2 } .box { fill: #1b3a63; stroke: #6ea8f0 } .data { fill: #4a3a14; stroke: #dcae4e }
.text { fill: #f2f6fa } .arrow { stroke: #b5c3d1 } .head { fill: #b5c3d1 }
}"""


def middle(layer: str) -> float:
    """y of the centre of a layer's row."""
    return TOP + ROW * (list(LAYERS).index(layer) + 0.5) - 2


def label(x: float, y: float, text: str, style: str, size: int = 14, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def box(layer: str, x: float, width: float, style: str, *lines: str) -> list[str]:
    """A box on a layer's row with one or two centred lines; style `box` is code, `data` is files or arrays."""
    y = middle(layer)
    shape = f'<rect x="{x:g}" y="{y - HALF:g}" width="{width:g}" height="{2 * HALF}" rx="7" class="{style}"/>'
    offsets = (5,) if len(lines) == 1 else (-3, 13)
    sizes = (13,) if len(lines) == 1 else (13, 12)
    texts = zip(lines, offsets, sizes, strict=True)
    return [shape, *(label(x + width / 2, y + dy, line, "text", size, "middle") for line, dy, size in texts)]


def arrow(*points: tuple[float, float]) -> str:
    path = " ".join(f"{'L' if n else 'M'} {x:g} {y:g}" for n, (x, y) in enumerate(points))
    return f'<path d="{path}" class="arrow" stroke-width="1.6" marker-end="url(#head)"/>'


def layers() -> list[str]:
    drawn = [label(LEFT, 34, "Packages import downwards only", "title", 17)]
    drawn.append(arrow((LEFT - 16, TOP + 4), (LEFT - 16, HEIGHT - 30)))
    for name, note in LAYERS.items():
        y = middle(name)
        drawn.append(
            f'<rect x="{LEFT}" y="{y - 27:g}" width="{WIDTH - LEFT - 20}" height="54" rx="8" class="row"/>'
        )
        drawn.append(label(LEFT + 14, y - 3, name, "name", 15))
        drawn.append(label(LEFT + 14, y + 15, note, "note", 13))
    return drawn


def path_of_a_batch() -> list[str]:
    """From raw text at the bottom to a prediction at the top."""
    x = FLOW  # left edge of the path
    text, dataset, objectives = middle("text"), middle("dataset"), middle("objectives")
    models, parallel, training = middle("models"), middle("parallel"), middle("training")
    finetuning, deployment = middle("finetuning"), middle("deployment")
    return [
        label(x, 34, "The path of a batch, from text (below) to a prediction (above)", "title", 17),
        *legend(x),
        *box("text", x, 110, "data", "raw text"),
        arrow((x + 110, text), (x + 148, text)),
        *box("text", x + 150, 120, "box", "ernie prepare"),
        arrow((x + 270, text), (x + 308, text)),
        *box("text", x + 310, 250, "data", "prepared corpus", "PREFIX_ids.npy _idx.npz _spans.npy"),
        arrow((x + 435, text - HALF), (x + 435, dataset + HALF + 2)),
        *box("dataset", x + 340, 190, "box", "Source", "splits, batch(indices)"),
        arrow((x + 340, dataset), (x + 292, dataset)),
        *box("dataset", x + 170, 120, "box", "BatchLoader", "reads ahead"),
        arrow((x + 170, dataset), (x + 132, dataset)),
        *box("dataset", x, 130, "data", "batch", "input_ids [B, L] …"),
        arrow((x + 65, dataset - HALF), (x + 65, objectives + HALF + 2)),
        *box("objectives", x, 270, "box", "Objective", "(network, batch) → Loss(total, metrics)"),
        *box("weights", x + 560, 150, "data", "model folder", "config.json, weights"),
        arrow((x + 635, middle("weights") + HALF), (x + 635, models - HALF - 2)),
        *box("models", x + 560, 210, "box", "network", "embed → layers → head"),
        arrow((x + 742, models - HALF), (x + 742, parallel + HALF + 2)),
        *box("parallel", x + 560, 210, "box", "network in its processes", "dp · sharding · mp · pp"),
        arrow((x + 620, parallel + HALF), (x + 620, objectives), (x + 272, objectives)),
        arrow((x + 65, objectives - HALF), (x + 65, training + HALF + 2)),
        label(x + 76, parallel + 5, "gradients of Loss.total, metrics", "note", 13),
        *box("training", x, 270, "box", "Trainer", "accumulate, clip, AdamW step, resume"),
        arrow((x + 270, training), (x + 308, training)),
        *box("training", x + 310, 250, "data", "checkpoints", "model_N/, model_last, metrics.jsonl"),
        arrow((x + 560, training), (x + 598, training)),
        *box("training", x + 600, 110, "data", "final/"),
        arrow((x + 655, training - HALF), (x + 655, finetuning), (x + 442, finetuning)),
        *box("finetuning", x + 170, 270, "box", "Task: examples, features, scores", "on the same Trainer"),
        arrow((x + 305, finetuning - HALF), (x + 305, deployment + HALF + 2)),
        *box("deployment", x + 220, 170, "box", "export", "Paddle program, ONNX"),
        arrow((x + 390, deployment), (x + 428, deployment)),
        *box("deployment", x + 430, 120, "box", "backend"),
        arrow((x + 550, deployment), (x + 588, deployment)),
        *box("deployment", x + 590, 150, "box", "pipeline, server"),
    ]


def legend(x: float) -> list[str]:
    drawn = []
    for style, name, shift in (("box", "code", 0), ("data", "files and arrays", 74)):
        drawn.append(f'<rect x="{x + shift:g}" y="48" width="18" height="14" rx="3" class="{style}"/>')
        drawn.append(label(x + shift + 25, 60, name, "note", 13))
    return drawn


def svg() -> str:
    head = (
        '<marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M 0 0 L 10 5 L 0 10 z" class="head"/></marker>'
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">",
        "<title>The packages of ernie_from_scratch and the path of a batch through them</title>",
        f"<style>\n{STYLE}\n</style>",
        f"<defs>{head}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" class="page"/>',
        *layers(),
        *path_of_a_batch(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "docs" / "architecture.svg").write_text(svg(), encoding="utf-8")
