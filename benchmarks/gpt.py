"""Tokens per second of training a GPT: d2l's whole loop, logging on, against a loop in the manner of nanoGPT.

    python benchmarks/gpt.py [--rounds 7] [--steps 5] [--threads 1] [--size gpt_tiny] [--seq 128] [--batch 8]
                             [--device cpu] [--compile] [--json FILE]
    python benchmarks/gpt.py --device cuda --size gpt2 --seq 1024 --batch 8 --compile

Both train the same module, copied with its weights, on the text Botchan, with AdamW and the gradient clipped at 1, in
float32 and in bfloat16 by autocast.  The other loop: batches from random places gathered from the tokens, the model,
`F.cross_entropy`, backward, `clip_grad_norm_`, torch's fused AdamW, gradients set to None.

Figures are medians over interleaved rounds by the CPU clock (the wall clock on a GPU and with several threads); the
ratio d2l / other is above 1 where d2l is faster.  The share of the peak is 3 x the multiply-adds of a forward pass, as
`d2l show` counts them (attention in full, though half of it is masked), 2 FLOPs each, over those of the fastest square
product of matrices in the same run, type and number of threads.
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lcli import config
from d2lcli.data.loader import Loader
from d2lcli.training.build import Run, build, make_loader
from d2lcli.training.checkpoint import Checkpoints
from d2lcli.training.logbook import Logbook
from d2lcli.training.loop import Trainer
from d2lcli.training.precision import TYPES, autocast
from d2lcli.training.progress import Quiet
from d2lcli.training.state import Position
from d2lcli.training.summary import summarize

LR, DECAY, CLIP = 1e-3, 0.1, 1.0
VOCABULARIES = {"gpt_tiny": None, "gpt2": 50_257}  # None: that of the data; the head is a third of GPT-2's work
Loop = Callable[[], object]
Clock = Callable[[], float]


def build_run(given: argparse.Namespace, precision: str) -> Run:
    """The product's run of a model on Botchan, cut into 1,000 byte-pair tokens."""
    words = [
        f"model={given.size}", f"model.max_len={given.seq}", "model.dropout=0.0",
        "data=botchan", "data.tokenizer={name: bpe, vocab_size: 1000}", f"data.num_steps={given.seq}",
        f"data.batch_size={given.batch}", "data.drop_last=true", "optim=adamw", f"optim.lr={LR}",
        f"optim.weight_decay={DECAY}", "scheduler=constant", f"clip_norm={CLIP}", "epochs=1000000",
        f"hardware.device={given.device}", f"hardware.precision={precision}", f"hardware.compile={given.compile}",
    ]  # fmt: skip
    if VOCABULARIES[given.size] is not None:
        words.append(f"model.vocab_size={VOCABULARIES[given.size]}")
    return build(config.compose(words).values)


def d2l_loop(run: Run, val: Loader, folder: Path, steps: int) -> Loop:
    """So many steps of the product's loop as a function."""
    trainer = Trainer(run, val, folder, Checkpoints(folder / "checkpoints"), Logbook(folder), Quiet(1), Position())
    at = trainer.at

    def loop() -> None:
        run.total_steps = at.step + steps
        while at.step < run.total_steps:
            trainer._train_epoch()
            if at.batch == len(run.train):
                at.epoch, at.batch = at.epoch + 1, 0

    return loop


def nanogpt_loop(model: nn.Module, tokens: Tensor, given: argparse.Namespace, precision: str) -> Loop:
    """The same number of steps as nanoGPT's train.py makes them."""
    params = list(model.parameters())
    groups = [
        {"params": [each for each in params if each.ndim >= 2], "weight_decay": DECAY},
        {"params": [each for each in params if each.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, fused=True)
    context = autocast(given.device, precision)
    places = torch.arange(given.seq, device=tokens.device)
    module = torch.compile(model) if given.compile else model

    def loop() -> None:
        model.train()
        for _ in range(given.steps):
            starts = torch.randint(len(tokens) - given.seq, (given.batch, 1), device=tokens.device)
            x, y = tokens[starts + places], tokens[starts + places + 1]
            with context():
                loss = F.cross_entropy(module(x).flatten(0, 1), y.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return loop


def matrix_product(given: argparse.Namespace, precision: str) -> tuple[Loop, float]:
    """A product of two square matrices as a function, and its FLOPs."""
    size = 1024 if given.device == "cpu" else 8192
    dtype = TYPES.get(precision, torch.float32)
    a, b = (torch.randn(size, size, device=given.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out), 2.0 * size**3


def seconds(loop: Loop, clock: Clock) -> float:
    begun = clock()
    loop()
    return clock() - begun


def measure(given: argparse.Namespace, precision: str, clock: Clock) -> dict[str, Any]:
    """Both loops and the product of matrices in turn, after a round that does not count."""
    run = build_run(given, precision)
    twin = copy.deepcopy(run.model)
    val = make_loader(run.values, run.dataset, "val", run.device, run.strategy)
    product, product_flops = matrix_product(given, precision)
    flops = 6.0 * given.batch * summarize(run.model, (given.seq,), input_dtype=torch.int64).multiply_adds
    tokens = run.dataset.train.targets.to(run.device)
    with tempfile.TemporaryDirectory() as folder:
        ours = d2l_loop(run, val, Path(folder), given.steps)
        theirs = nanogpt_loop(twin, tokens, given, precision)
        rows, products = [], []
        for number in range(given.rounds + 1):
            # Who comes after the products finds other caches and another clock rate: the two take turns.
            order = (ours, theirs) if number % 2 else (theirs, ours)
            spent = {loop: seconds(loop, clock) for loop in order}
            rows.append((spent[ours], spent[theirs]))
            products += [seconds(product, clock) for _ in range(5)]
    rows = rows[1:]
    d2l, other = (median(row[i] for row in rows) for i in range(2))
    peak = product_flops / min(products)
    made = given.steps * given.batch * given.seq
    return {
        "precision": precision,
        "d2l_tokens_per_second": made / d2l,
        "other_tokens_per_second": made / other,
        "ratio": median(row[1] / row[0] for row in rows),
        "peak_gflops": peak / 1e9,
        "d2l_share_of_peak": given.steps * flops / d2l / peak,
        "other_share_of_peak": given.steps * flops / other / peak,
        "parameters": sum(each.numel() for each in run.model.parameters()),
        "gflops_per_step": flops / 1e9,
    }


def synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure both precisions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="of a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", choices=VOCABULARIES, default="gpt_tiny")
    parser.add_argument("--seq", type=int, default=128, help="tokens of a sequence")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a batch")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    if given.device == "cuda":
        clock = synchronised
    found = []
    for precision in ("fp32", "bf16"):
        row = measure(given, precision, clock)
        found.append(row)
        if len(found) == 1:
            print(
                f"{given.size}, {row['parameters']:,} parameters, {given.batch} x {given.seq} tokens a step, "
                f"{row['gflops_per_step']:.1f} GFLOP"
            )
            print(
                f"{'':<6}{'d2l':>10}{'other':>10}   tokens/s;   d2l/other   share of peak: d2l   other   peak, GFLOP/s"
            )
        print(
            f"{precision:<6}{row['d2l_tokens_per_second']:>10,.0f}{row['other_tokens_per_second']:>10,.0f}"
            f"{row['ratio']:>24.3f}{row['d2l_share_of_peak']:>21.1%}{row['other_share_of_peak']:>8.1%}"
            f"{row['peak_gflops']:>12,.0f}",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
