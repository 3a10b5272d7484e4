"""An encoder of a finished run that can be asked about texts; what classifying, tagging and answering share.

Legend: n texts, t tokens of the longest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.examples import Example, ExampleLoader, example_split
from d2lcli.data.marked import Marks
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import CheckpointError, ConfigError, clean
from d2lcli.generation.opening import open_run
from d2lcli.training.runfolder import RunFolder
from d2lcli.training.tokens import TARGET, read_tokenizer

BATCH = 64  # texts that are read at once


@dataclass(frozen=True)
class Encoder:
    """A model that reads texts.

    Attributes:
        num_steps: the most tokens that it was trained on.
        facts: what meta.json tells of the data.
        values: the config of the run.
        checkpoint: the folder that the weights came from.
    """

    model: nn.Module
    tokenizer: Tokenizer
    device: torch.device
    num_steps: int
    facts: dict[str, Any]
    values: dict[str, Any]
    checkpoint: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names in the order of the outputs."""
        return tuple(map(str, self.facts["classes"]))

    @property
    def pairs(self) -> bool:
        """Whether it judges two texts together."""
        return bool(self.facts.get("pairs"))

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Words of texts that are not in the vocabulary, each once."""
        missing = self.tokenizer.vocabulary.unknown
        words = [pair for text in texts for pair in zip(self.tokenizer.split(text), self.tokenizer.encode(text))]
        return list(dict.fromkeys(word for word, number in words if number == missing))

    @torch.no_grad()
    def outputs(self, marked: Sequence[tuple[list[int], list[int]]]) -> Iterator[Tensor]:
        """The model's outputs for each of n tokens and segments: (...) of a text, or (t, ...) of its tokens."""
        marks = Marks.of(self.tokenizer)
        examples = [Example(tokens, segments, 0) for tokens, segments in marked]
        split = example_split(examples, "label", marks.pad, "prompts", "--prompt")
        loader = ExampleLoader(split, batch_size=BATCH, seed=0, shuffle=False, device=self.device)
        for inputs, _ in loader.batches(0):
            yield from self.model(*inputs).double()


def open_encoder(path: Path, values: dict[str, Any], checkpoint: str, num_outputs: int | None) -> Encoder:
    """A run's model of texts from its folder alone: no data is read.

    Args:
        path: the run folder.
        values: its config.
        checkpoint: best, last, a step, or a path.
        num_outputs: of the model; None is one for each class.

    Raises:
        ConfigError: the run's data is no text.
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: the tokenizer's file is damaged.
    """
    data = values["data"]
    if "tokenizer" not in data:
        raise ConfigError(
            f"{clean(path)}: model '{values['model']['name']}' judges what data '{data['name']}' holds, which is "
            "no text",
            "measure it on data: d2l evaluate RUN",
        )
    run = open_run(path, values, checkpoint)
    tokenizer = read_tokenizer(path / TARGET)
    facts = RunFolder(path).read_meta().get("data", {})
    if num_outputs is None and not facts.get("classes"):
        raise CheckpointError(
            f"{clean(path)}: meta.json does not tell the names of the classes", "train the run again: d2l train"
        )
    outputs = len(facts["classes"]) if num_outputs is None else num_outputs
    model = run.model((data["num_steps"],), outputs, 0, len(tokenizer))
    return Encoder(model, tokenizer, run.device, data["num_steps"], facts, values, run.checkpoint)


def parted(prompt: str, pairs: bool, example: str) -> list[str]:
    """A prompt as one text or two, which a tab parts, or a backslash and a t.

    Args:
        prompt: of the user.
        pairs: whether two are wanted.
        example: a prompt of two.

    Raises:
        ConfigError: there are not as many texts as are wanted, or one has no word.
    """
    texts = prompt.replace("\\t", "\t").split("\t") if pairs else [prompt]
    if pairs and len(texts) != 2:
        raise ConfigError(
            f"--prompt: this run reads two texts together, but '{clean(prompt, 60)}' has {len(texts)}",
            f"write the first text, \\t, and the second one: --prompt '{example}'",
        )
    if not pairs and "\t" in prompt:
        raise ConfigError(f"--prompt: this run reads single texts, but there is a tab in '{clean(prompt, 60)}'")
    return texts


def require_words(texts: Sequence[str], encoded: Sequence[list[int]]) -> None:
    """Refuse texts of no token.

    Raises:
        ConfigError: there is one.
    """
    for text, ids in zip(texts, encoded, strict=True):
        if not ids:
            raise ConfigError(f"--prompt: there is no word in '{clean(text, 40)}'", "give a sentence")
