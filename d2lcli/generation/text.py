"""Text from a finished run: its model and tokenizer from the run folder, prompts in, continuations out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.corpora import letters
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.generation.continuation import next_logits
from d2lcli.generation.decoding import Decoder
from d2lcli.generation.layout import lay_out
from d2lcli.generation.opening import open_run
from d2lcli.training.tokens import TARGET, read_tokenizer


@dataclass(frozen=True)
class TextModel:
    """A language model that can be asked.

    Attributes:
        checkpoint: the folder that the weights came from.
        letters_only: prompts are cleaned as the text that was trained on.
    """

    model: nn.Module
    tokenizer: Tokenizer
    device: torch.device
    checkpoint: Path
    letters_only: bool


@dataclass(frozen=True)
class Continued:
    """One continuation.

    Attributes:
        completion: the new text.
        tokens: the new tokens, as text.
        log_probs: of each under the model.
    """

    prompt: str
    completion: str
    tokens: list[str]
    log_probs: list[float]

    @property
    def text(self) -> str:
        return self.prompt + self.completion


def open_text_model(path: Path, values: dict[str, Any], checkpoint: str = "best") -> TextModel:
    """A run's language model, of next or of masked tokens, from its folder alone: no data is read.

    Raises:
        ConfigError: the run's model does not generate text.
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: the tokenizer's file is damaged.
    """
    task, name = values["task"]["name"], values["model"]["name"]
    if task not in ("language_model", "masked_language_model"):
        raise ConfigError(
            f"{clean(path)}: model '{name}' of the task '{task}' cannot generate text",
            "train a language model, d2l train model=rnn_lm, or one that translates, d2l train model=transformer",
        )
    run = open_run(path, values, checkpoint)
    tokenizer = read_tokenizer(path / TARGET)
    model = run.model((values["data"]["num_steps"],), len(tokenizer))
    return TextModel(lay_out(model), tokenizer, run.device, run.checkpoint, bool(values["data"].get("letters_only")))


def encode_prompt(source: TextModel, prompt: str) -> list[int]:
    """The ids of a prompt.

    Raises:
        ConfigError: it is empty, or holds what the model has never seen.
    """
    tokenizer = source.tokenizer
    text = letters(prompt) if source.letters_only else prompt
    ids = tokenizer.encode(text)
    if not ids:
        raise ConfigError("--prompt: an empty prompt leaves nothing to go on from", "give a letter or a word")
    missing = tokenizer.vocabulary.unknown
    if missing in ids:
        unknown = next(token for token, number in zip(tokenizer.split(text), ids) if number == missing)
        known = list(tokenizer.vocabulary.plain)
        hint = nearest(unknown, known) if len(unknown) > 1 else ""
        raise ConfigError(
            f"--prompt: the model does not know '{clean(unknown, 40)}'{hint}; it knows {len(tokenizer)} tokens",
            f"the most frequent: {clean(' '.join(known[:20]), 200)}",
        )
    return ids


def continue_prompts(
    source: TextModel,
    decoder: Decoder,
    prompts: Sequence[str],
    *,
    num: int = 1,
    stop: Sequence[str] = (),
    cache: bool = True,
    stream: Callable[[str], None] | None = None,
) -> list[Continued]:
    """Continue each prompt `num` times, in the order of the prompts.

    Args:
        source: the model.
        decoder: chooses the tokens.
        prompts: texts; those of one length are continued side by side.
        num: continuations of each.
        stop: texts that end a continuation; what is found first is cut off with all that follows.
        cache: read every token once; False reads everything again for each new one.
        stream: told new text as it appears, for one prompt and one continuation.

    Raises:
        ConfigError: a prompt that cannot be encoded.
    """
    encoded = [encode_prompt(source, prompt) for prompt in prompts]
    rows = [index for index in range(len(prompts)) for _ in range(num)]
    found: dict[int, Continued] = {}
    for length in sorted({len(ids) for ids in encoded}):
        places = [place for place, index in enumerate(rows) if len(encoded[index]) == length]
        prompt = torch.tensor([encoded[rows[place]] for place in places], device=source.device)
        shown = _Shown(source.tokenizer, length, stop, stream if len(rows) == 1 else None)
        watch = shown.watch if stop or stream is not None else None
        made = decoder(next_logits(source.model, cache=cache), prompt, None, watch)
        for place, tokens, size, logs in zip(places, made.tokens, made.lengths.tolist(), made.log_probs):
            new = tokens[length : length + size].tolist()
            found[place] = _finished(source.tokenizer, prompts[rows[place]], new, logs[:size].tolist(), stop)
            shown.finish(found[place].completion)
    return [found[place] for place in range(len(rows))]


def _finished(tokenizer: Tokenizer, prompt: str, new: list[int], logs: list[float], stop: Sequence[str]) -> Continued:
    text = tokenizer.decode(new)
    cut = _first_stop(text, stop)
    if cut is not None:
        text = text[:cut]
        while new and len(tokenizer.decode(new[:-1])) >= cut:
            new, logs = new[:-1], logs[:-1]
    tokens = [tokenizer.tokens[number] for number in new]
    return Continued(prompt, tokenizer.gap(tokens) + text if text else "", tokens, logs)


def _first_stop(text: str, stop: Sequence[str]) -> int | None:
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return min(places) if places else None


class _Shown:
    """Looks at the tokens after each step: it tells new text, and says which rows have met a stop text.

    What may be the beginning of a stop text is held back until it is known not to be one.
    """

    def __init__(
        self, tokenizer: Tokenizer, start: int, stop: Sequence[str], stream: Callable[[str], None] | None
    ) -> None:
        self.tokenizer, self.start, self.stop, self.stream = tokenizer, start, stop, stream
        self.told = ""
        self.held = max((len(word) for word in stop), default=1) - 1

    def watch(self, tokens: Tensor) -> Tensor | None:
        new = tokens[:, self.start :].tolist()
        texts = [self.tokenizer.decode(row) for row in new]
        if self.stream is not None:
            gap = self.tokenizer.gap([self.tokenizer.tokens[new[0][0]]])
            cut = _first_stop(texts[0], self.stop)
            self._tell(gap + texts[0][: cut if cut is not None else max(0, len(texts[0]) - self.held)])
        if not self.stop:
            return None
        return torch.tensor([_first_stop(text, self.stop) is not None for text in texts], device=tokens.device)

    def finish(self, completion: str) -> None:
        """Tell what was held back."""
        if self.stream is not None:
            self._tell(completion)

    def _tell(self, text: str) -> None:
        if self.stream is not None and len(text) > len(self.told):
            self.stream(text[len(self.told) :])
            self.told = text
