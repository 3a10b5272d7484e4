"""word2vec on WikiText-2: words per CPU-second and the quality of the vectors, beside gensim's at equal settings.

    D2L_DATA=FOLDER python benchmarks/word2vec.py [--model skipgram] [--tree] [--epochs 5] [--rate 0.05] [--json FILE]

100 components, window 5, 5 negatives (--tree: hierarchical softmax instead), min_freq 5, subsampling at 1e-4, one
thread, the learning rate falling in a line.  Both count words of the vocabulary before ("words read") and after
subsampling ("words trained"; gensim's own log counts these) by the user time of the process while it trains: reading
and counting the text is left out for both, drawing windows and negatives is in.  gensim keeps a little more of the
frequent words: its probability is sqrt(t/f) + t/f.  The vectors of both are judged by the same functions: Spearman's
correlation with WordSim-353 and SimLex-999, and the share of analogies that are right, whose words are all known.

"d2l" is what `d2l train` does with optim=sgd: gradients written out, 64 negatives for a batch of 256 words.  "own
negatives" draws 5 for each target instead; "autograd" is that with the optimizer's dense step as well, and "Adam" the
book's way (d2l 15.4).  These three are measured for some batches, and not judged.
gensim is none of our dependencies: it is left out where it is not installed.
"""

import argparse
import json
import resource
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2lcli.config.composition import compose
from d2lcli.data.dataset import Dataset
from d2lcli.tasks.word_similarity import RankCorrelation, analogy_hits
from d2lcli.training.build import Run, build

PIECES, STEPS = 8, 32
SLOW = 60  # batches of the slow ways
Row = dict[str, Any]


def seconds() -> float:
    """User time of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def make(args: argparse.Namespace, *more: str) -> Run:
    """The run of `d2l train` with these settings."""
    pieces, loss = (2, "hierarchical_softmax") if args.tree else (PIECES, "negative_sampling")
    words = [
        f"model={args.model}", "data=wikitext2", "data.tokenizer={name: word, min_freq: 5}", "hardware=cpu",
        f"data.batch_size={pieces}", f"data.num_steps={STEPS}", f"task.loss={loss}", f"epochs={args.epochs}",
        f"optim.lr={args.rate * pieces * STEPS}", "hardware.threads=1", *more,
    ]  # fmt: skip
    return build(compose(words).values)


def judge(vectors: Tensor, data: Dataset) -> Row:
    """How well vectors (V, d) agree with people."""
    tests, found = data.word_tests, {}
    for name in ("wordsim353", "simlex999"):
        metric = RankCorrelation(name)
        metric.bind_tests(tests, torch.device("cpu"))
        metric.update(vectors)
        found[name] = metric.compute()
    asked = tests.analogies
    hits = analogy_hits(vectors, asked.words, asked.answers).double()
    kinds = {"semantic": hits[~asked.syntactic], "syntactic": hits[asked.syntactic]}
    return found | {"analogies": hits.mean().item()} | {name: part.mean().item() for name, part in kinds.items()}


def ours(run: Run) -> Row:
    """Train as the loop does, without evaluations; the speed, and the quality."""
    begun, step = seconds(), 0
    for epoch in range(run.values["epochs"]):
        for batch in run.train.batches(epoch):
            run.task.advance(run.model, batch, run.schedule(step)).item()
            step += 1
    spent = seconds() - begun
    split: Any = run.train.split
    read = run.values["epochs"] * len(split.targets)
    trained = run.values["epochs"] * split.keep[split.targets].sum().item()
    vectors: Tensor = run.model.vectors().detach()  # type: ignore[operator]
    return {"read": read / spent, "trained": trained / spent} | judge(vectors, run.dataset)


def slow(args: argparse.Namespace, autograd: bool, *more: str) -> Row:
    """The speed of another way, over a few batches."""
    run = make(args, "task.pool=null", *more)
    split: Any = run.train.split
    batches = run.train.batches(0)
    next(batches)
    begun = seconds()
    for _, batch in zip(range(SLOW), batches):
        if autograd:
            run.task.train_loss(run.model, batch).backward()
            run.optimizer.step()
            run.optimizer.zero_grad()
        else:
            run.task.advance(run.model, batch, 0.1).item()
    spent, trained = seconds() - begun, SLOW * run.train.batch_size * STEPS
    kept = split.keep[split.targets].mean().item()
    return {"read": trained / kept / spent, "trained": trained / spent}


def gensim(args: argparse.Namespace, data: Dataset) -> Row:
    """gensim's Word2Vec on the same lines with the same vocabulary."""
    from gensim.models import Word2Vec

    (path,) = (Path(file) for file in data.files if Path(file).name.startswith("train"))
    lines = [line.split() for line in _text(path).splitlines()]
    model = Word2Vec(
        vector_size=100, window=5, negative=0 if args.tree else 5, hs=int(args.tree), sg=int(args.model == "skipgram"),
        sample=1e-4, min_count=5, workers=1, seed=1, alpha=args.rate, min_alpha=1e-4,
    )  # fmt: skip
    model.build_vocab([line for line in lines if line])
    read = args.epochs * sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
    begun = seconds()
    trained, _ = model.train([line for line in lines if line], total_examples=model.corpus_count, epochs=args.epochs)
    spent = seconds() - begun
    assert data.tokenizer is not None
    vectors = torch.zeros(len(data.tokenizer), 100)
    for word, number in data.tokenizer.vocabulary.plain.items():
        vectors[number] = torch.from_numpy(model.wv[word].copy())
    return {"read": read / spent, "trained": trained / spent} | judge(vectors, data)


def _text(path: Path) -> str:
    import gzip

    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def show(rows: dict[str, Row]) -> None:
    """The table."""
    print(f"{'':<26}{'words read':>12}{'words trained':>15}{'WordSim':>9}{'SimLex':>8}{'analogies':>11}  (sem, syn)")
    for name, row in rows.items():
        line = f"{name:<26}{row['read']:>12,.0f}{row['trained']:>15,.0f}"
        if "analogies" in row:
            line += f"{row['wordsim353']:>9.3f}{row['simlex999']:>8.3f}{100 * row['analogies']:>10.2f}%"
            line += f"  ({100 * row['semantic']:.1f}, {100 * row['syntactic']:.1f})"
        print(line)
    print("words a second of user time, on one thread")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", choices=("skipgram", "cbow"), default="skipgram")
    parser.add_argument("--tree", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.05, help="of one word, at first")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    run = make(args)
    rows = {"d2l": ours(run)}
    if not args.tree:
        rows["d2l, own negatives"] = slow(args, False)
        rows["d2l, autograd"] = slow(args, True)
        rows["d2l, Adam"] = slow(args, True, "optim=adam", "optim.lr=0.002", "scheduler=constant")
    if find_spec("gensim") is None:
        print("gensim is not installed: pip install gensim, to compare")
    else:
        rows["gensim"] = gensim(args, run.dataset)
    show(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
