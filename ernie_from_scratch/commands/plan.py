"""`ernie plan`."""

HELP = """Find out how to spread a model over GPUs: memory, time and price of each way, before paying for one

Examples:
  ernie plan --config ernie_230b --gpus 256 --gpu v100-32g --global_batch_size 4096 --max_seq_len 512
  ernie plan --config ernie_large --gpus 8 --gpu a100-80g --global_batch_size 512 --max_seq_len 512 --tokens 1e11
  ernie plan --config model/config.json --gpus 16 --gpu my_gpu.yaml --global_batch_size 256 --max_seq_len 128 --json
  ernie plan --explain

Exit code: 0 when a plan fits, 1 when none does, 2 for a mistake in the flags.
"""
NEEDED = ("config", "gpus", "gpu", "global_batch_size", "max_seq_len")
FIXED = ("dp_degree", "sharding_degree", "mp_degree", "pp_degree", "micro_batch_size")


def add_arguments(parser):
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="ernie_base, ernie_large, ernie_230b, a preset, or a config.json",
    )
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs in all")
    parser.add_argument(
        "--gpu", metavar="NAME|FILE", help="v100-32g, a100-80g, h100-80g, h200, or a YAML or JSON file"
    )
    parser.add_argument("--global_batch_size", type=int, metavar="N", help="rows of an optimizer step")
    parser.add_argument("--max_seq_len", type=int, metavar="N", help="tokens of a row")
    parser.add_argument(
        "--gpus_per_node", type=int, default=8, metavar="N", help="GPUs in a machine (default: 8)"
    )
    parser.add_argument(
        "--precision", default="fp16", choices=("fp16", "bf16"), help="of the products (default: fp16)"
    )
    parser.add_argument("--masked_lm_prob", type=float, default=0.15, metavar="X",
                        help="share of the tokens whose word is asked (default: 0.15)")  # fmt: skip
    parser.add_argument("--tokens", type=float, metavar="N", help="tokens of the whole training: adds days")
    parser.add_argument(
        "--price_per_gpu_hour", type=float, metavar="X", help="adds the price of a million tokens"
    )
    for name in FIXED:
        parser.add_argument(f"--{name}", type=int, metavar="N", help="only plans with this value")
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="plans to show of each kind (default: 10)"
    )
    parser.add_argument("--all", action="store_true", help="every combination, not the best of each mp x pp")
    parser.add_argument("--json", action="store_true", help="all plans as a JSON list, best first")
    parser.add_argument(
        "--explain", action="store_true", help="the formulas, constants and GPUs, with sources"
    )


def run(args):
    import json
    import sys

    from rich.console import Console

    from ernie_from_scratch.config import UserError
    from ernie_from_scratch.planner import search as plan_search
    from ernie_from_scratch.planner import view as plan_view
    from ernie_from_scratch.planner.explain import explanation
    from ernie_from_scratch.planner.hardware import Cluster, find_gpu
    from ernie_from_scratch.planner.job import Job, find_config

    if args.explain:
        print(explanation())
        return 0
    for name in NEEDED:
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing: a plan needs it; `ernie plan --help` shows examples")
    for name in ("tokens", "price_per_gpu_hour", "top"):
        if getattr(args, name) is not None and not getattr(args, name) > 0:
            raise UserError(f"too small: --{name} is {getattr(args, name)}; give more than 0")
    job = Job(
        find_config(args.config),
        args.global_batch_size,
        args.max_seq_len,
        args.precision,
        args.masked_lm_prob,
    )
    cluster = Cluster(find_gpu(args.gpu), args.gpus, args.gpus_per_node)
    plans = plan_search.search(job, cluster)
    fixed = {name: getattr(args, name) for name in FIXED}
    if any(value is not None for value in fixed.values()):
        plans = plan_search.with_fixed(plans, **fixed)
    if not args.all:
        plans = plan_search.best_of_each(plans)
    if args.json:
        rows = plan_search.to_dicts(plans, args.tokens, args.price_per_gpu_hour)
        print(json.dumps(rows, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 150)
        plan_view.show(plans, console, args.top, args.tokens, args.price_per_gpu_hour)
    return 0 if plans[0].feasible else 1
