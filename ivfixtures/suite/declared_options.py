"""The options of the command line; every default stands here and nowhere else.

They are declared in every pytest session of an environment, so nothing heavy is imported.
"""

import pytest

DEVICE = "cpu"
DTYPES = ("float32", "bfloat16", "float16")
CHAT_MODES = ("auto", "never", "always")
# Settings of the first pack that were options of the suite.
OLD_OPTIONS = {
    f"--{name.replace('_', '-')}": ("instruction_vectors", name)
    for name in ("orders", "path_k", "max_paths", "path_granularity")
}
EXECUTORS = ("inprocess", "processes", "slurm", "ray")


def declare(parser: pytest.Parser) -> None:
    """Declare the options of the suite."""
    group = parser.getgroup("ivclaims", "claims of a paper about language models")
    add = group.addoption
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NAME",
        help="judge this checkpoint: a registry name, hub id, folder or GGUF file, or all of a "
        "training run's folder of step-N; repeatable",
    )
    add(
        "--family",
        action="append",
        default=[],
        metavar="NAME",
        help="judge the checkpoints of this family; repeatable (default: the embedded families)",
    )
    add("--tasks", metavar="DIR", help="read tasks from this folder instead of the packaged ones")
    add(
        "--bigbench",
        metavar="DIR",
        help="add the paper's four BIG-bench tasks, from their JSON files in this folder or, if it "
        "is `hub`, from the hub's data set tasksource/bigbench",
    )
    add(
        "--device",
        default=DEVICE,
        help="torch device, or `auto` to spread a model over all there are (default: cpu)",
    )
    add("--dtype", default="float32", choices=DTYPES, help="dtype of weights (default: float32)")
    add(
        "--remote",
        action="store_true",
        help="run hub checkpoints on NDIF (ndif.us), where their weights stay; needs NDIF_API_KEY",
    )
    add("--samples", type=int, default=100, metavar="N", help="samples a task (default: 100)")
    add(
        "--chat-template",
        default=CHAT_MODES[0],
        choices=CHAT_MODES,
        help="prompt through the tokenizer's chat template: where there is one and the checkpoint "
        "is no base model and none of the paper's, never, or always (default: auto)",
    )
    add(
        "--system-prompt",
        metavar="TEXT",
        help="system prompt of chats (default: what the chat template writes by itself)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="PACK.NAME=VALUE",
        help="a setting of a pack, as in instruction_vectors.orders=1,2; a pack's README lists its "
        "settings; repeatable",
    )
    for option, (pack, name) in OLD_OPTIONS.items():
        add(option, help=f"before: now --set {pack}.{name}=VALUE")
    add("--seed", type=int, default=0, help="seed of samples and resampling (default: 0)")
    add(
        "--memory-budget",
        type=float,
        metavar="GIB",
        help="memory of one forward pass (default: a quarter of what is free on the device once "
        "the model is there; on CPU 1 at most)",
    )
    add(
        "--store",
        default=".ivclaims",
        metavar="DIR|URL",
        help="folder, or URL as in s3://bucket/prefix, that keeps measurements for later runs "
        "(default: .ivclaims)",
    )
    add(
        "--judge",
        metavar="URL",
        help="have valid responses judged at this OpenAI-compatible endpoint, as in "
        "http://localhost:8000/v1; its key is read from IVCLAIMS_JUDGE_KEY",
    )
    add("--judge-model", metavar="NAME", help="the model to ask there")
    add(
        "--measure-anyway",
        action="store_true",
        help="measure causal claims even where the checkpoint does not solve the task",
    )
    add(
        "--xfail-refuted",
        action="store_true",
        help="report refuted claims as xfailed: a run whose cells were all judged passes",
    )
    add(
        "--expect",
        metavar="FILE",
        help="hold the cells to the verdicts in this file: a change of verdict fails",
    )
    add("--write-expect", metavar="FILE", help="write the verdicts of this run into this file")
    add("--expect-new", action="store_true", help="allow cells that --expect has no entry for")
    add("--expect-missing", action="store_true", help="allow entries of --expect without a cell")
    add(
        "--max-drift",
        type=float,
        metavar="X",
        help="fail a cell whose per-sample values moved by significantly more than X, in their "
        "unit, since --expect was written (its values must be in the store)",
    )
    add(
        "--shard",
        metavar="I/N",
        help="judge the I-th of N parts; a checkpoint is never split",
    )
    add(
        "--plan",
        action="store_true",
        help="print which measurements the selected cells need, which are in the store and what "
        "the others cost at most; judge nothing (with -v: each of them)",
    )
    _declare_executors(parser)


def _declare_executors(parser: pytest.Parser) -> None:
    add = parser.getgroup("ivclaims").addoption
    add(
        "--executor",
        default=EXECUTORS[0],
        choices=EXECUTORS,
        help="who measures: this process, processes of this machine, Slurm or Ray; this process "
        "judges (default: inprocess)",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes, or actors of Ray (default: one a visible GPU; on CPU at most 4)",
    )
    add(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what to ask Slurm for: partition, gpus, time, mem and so on; repeatable",
    )
    add(
        "--ray-address",
        metavar="HOST:PORT",
        help="a running Ray, or `auto` (default: one that is started and ended with the run)",
    )
    add(
        "--detach",
        action="store_true",
        help="submit to Slurm or a running Ray and end; the same command without it goes on",
    )
