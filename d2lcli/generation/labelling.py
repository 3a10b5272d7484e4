"""Classes of given texts, or pairs of texts, by the model of a finished run (d2l 16.2-16.7).

Legend: n texts, t tokens of the longest, q classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.examples import Example, ExampleLoader, example_split
from d2lcli.data.marked import Marks, mark
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import CheckpointError, ConfigError, clean
from d2lcli.generation.opening import open_run
from d2lcli.training.runfolder import RunFolder
from d2lcli.training.tokens import TARGET, read_tokenizer

BATCH = 64  # texts that are read at once


@dataclass(frozen=True)
class TextClassifier:
    """A classifier of texts that can be asked.

    Attributes:
        classes: their names in the order of the outputs.
        pairs: whether it judges two texts together.
        num_steps: the most tokens that it was trained on.
        checkpoint: the folder that the weights came from.
        exclusive: whether one class is true, or each is a question of its own (binary cross-entropy).
    """

    model: nn.Module
    tokenizer: Tokenizer
    device: torch.device
    classes: tuple[str, ...]
    pairs: bool
    num_steps: int
    checkpoint: Path
    exclusive: bool


@dataclass(frozen=True)
class Labelled:
    """One text with its class.

    Attributes:
        texts: one, or the two of a pair.
        label: the most probable class.
        probabilities: of all classes, the most probable first.
        unknown: its words that are not in the vocabulary, each once.
        left_out: tokens at its end that the model does not read.
    """

    texts: list[str]
    label: str
    probabilities: dict[str, float]
    unknown: list[str]
    left_out: int


def open_classifier(path: Path, values: dict[str, Any], checkpoint: str = "best") -> TextClassifier:
    """A run's classifier of texts from its folder alone: no data is read.

    Raises:
        ConfigError: the run does not classify texts.
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: the tokenizer's file is damaged.
    """
    data = values["data"]
    if "tokenizer" not in data:
        raise ConfigError(
            f"{clean(path)}: model '{values['model']['name']}' classifies what data '{data['name']}' holds, which is "
            "no text",
            "measure it on data: d2l evaluate RUN",
        )
    run = open_run(path, values, checkpoint)
    tokenizer = read_tokenizer(path / TARGET)
    facts = RunFolder(path).read_meta().get("data", {})
    if not facts.get("classes"):
        raise CheckpointError(
            f"{clean(path)}: meta.json does not tell the names of the classes", "train the run again: d2l train"
        )
    classes = tuple(map(str, facts["classes"]))
    model = run.model((data["num_steps"],), len(classes), 0, len(tokenizer))
    loss = values["task"]["loss"]
    exclusive = (loss if isinstance(loss, str) else loss["name"]) != "binary_cross_entropy"
    return TextClassifier(
        model, tokenizer, run.device, classes, bool(facts.get("pairs")), data["num_steps"], run.checkpoint, exclusive
    )


def classify(source: TextClassifier, prompts: Sequence[str]) -> list[Labelled]:
    """The class of each text, in their order.

    Args:
        source: the classifier.
        prompts: texts; the two of a pair are parted by a tab, for which a backslash and a t may stand.

    Raises:
        ConfigError: a text is empty, or there are not as many texts as the model judges together.
    """
    texts = [_parted(prompt, source.pairs) for prompt in prompts]
    encoded = [[source.tokenizer.encode(text) for text in each] for each in texts]
    for each, ids in zip(texts, encoded, strict=True):
        if not all(ids):
            raise ConfigError(f"--prompt: there is no word in '{clean(each[ids.index([])], 40)}'", "give a sentence")
    return [
        _labelled(source, each, ids, row)
        for each, ids, row in zip(texts, encoded, _probabilities(source, encoded), strict=True)
    ]


def _parted(prompt: str, pairs: bool) -> list[str]:
    """A prompt as one text or two."""
    texts = prompt.replace("\\t", "\t").split("\t") if pairs else [prompt]
    if pairs and len(texts) != 2:
        raise ConfigError(
            f"--prompt: this run judges two texts together, but '{clean(prompt, 60)}' has {len(texts)}",
            "write the first text, \\t, and the second one: --prompt 'A man sleeps.\\tNobody is awake.'",
        )
    if not pairs and "\t" in prompt:
        raise ConfigError(f"--prompt: this run judges single texts, but there is a tab in '{clean(prompt, 60)}'")
    return texts


@torch.no_grad()
def _probabilities(source: TextClassifier, encoded: Sequence[Sequence[list[int]]]) -> Iterator[list[float]]:
    """For each text those of all classes."""
    marks = Marks.of(source.tokenizer)
    marked = (mark(marks, first, second[0] if second else None, source.num_steps) for first, *second in encoded)
    examples = [Example(tokens, segments, 0) for tokens, segments in marked]
    split = example_split(examples, "label", marks.pad, "prompts", "--prompt")
    loader = ExampleLoader(split, batch_size=BATCH, seed=0, shuffle=False, device=source.device)
    for inputs, _ in loader.batches(0):
        logits: Tensor = source.model(*inputs)  # (n, q)
        yield from (logits.double().softmax(1) if source.exclusive else logits.double().sigmoid()).tolist()


def _labelled(source: TextClassifier, texts: list[str], ids: Sequence[list[int]], row: Sequence[float]) -> Labelled:
    tokenizer = source.tokenizer
    missing = tokenizer.vocabulary.unknown
    words = [pair for text, own in zip(texts, ids) for pair in zip(tokenizer.split(text), own)]
    unknown = dict.fromkeys(word for word, number in words if number == missing)
    ordered = sorted(zip(source.classes, row, strict=True), key=lambda pair: -pair[1])
    left_out = max(0, sum(map(len, ids)) + len(ids) + 1 - source.num_steps)
    return Labelled(texts, ordered[0][0], dict(ordered), list(unknown), left_out)
