"""Text from a finished run: its model and tokenizer from the run folder, prompts in, continuations out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.data.corpora import letters
from d2lcli.data.tokenizers.base import Tokenizer, read_state
from d2lcli.errors import CheckpointError, ConfigError, DataError, clean, nearest
from d2lcli.generation.continuation import next_logits
from d2lcli.generation.decoding import Decoder
from d2lcli.registry import TOKENIZERS
from d2lcli.training.build import build_model, pick_device, prepare
from d2lcli.training.checkpoint import Checkpoints, read_snapshot
from d2lcli.training.state import load_weights


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
    """A run's language model, from its folder alone: no data is read.

    Raises:
        ConfigError: the run's model does not generate text.
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: the tokenizer's file is damaged.
    """
    task, name = values["task"]["name"], values["model"]["name"]
    if task != "language_model":
        raise ConfigError(
            f"{clean(path)}: model '{name}' of the task '{task}' cannot generate text",
            "train a language model, d2l train model=rnn_lm, or one that translates, d2l train model=transformer",
        )
    chosen = Checkpoints(path / "checkpoints").find(checkpoint)
    snapshot = read_snapshot(chosen, only=("model", "ema"))
    tokenizer = read_tokenizer(path / "tokenizer.json")
    device = pick_device(values["hardware"])
    prepare(values, device)
    model = build_model(values, (values["data"]["num_steps"],), len(tokenizer), device)
    load_weights(model, snapshot.weights, snapshot)
    return TextModel(model.eval(), tokenizer, device, chosen, bool(values["data"].get("letters_only")))


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer that a run has written.

    Raises:
        CheckpointError: it is missing.
        DataError: it is damaged.
    """
    if not file.is_file():
        raise CheckpointError(f"{clean(file.parent)}: {file.name} is missing, which the run wrote at its start")
    state = read_state(file)
    if state["name"] not in TOKENIZERS:
        raise DataError(f"{clean(file)}: unknown tokenizer '{clean(state['name'], 40)}'")
    tokenizer: Tokenizer = TOKENIZERS.build(state["name"])
    tokenizer.load_state(state)
    return tokenizer


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
    if 0 in ids:
        unknown = next(token for token, number in zip(tokenizer.split(text), ids) if number == 0)
        known = tokenizer.tokens[len(tokenizer.special) :]
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
        watch = _watcher(source.tokenizer, length, stop, stream if len(rows) == 1 else None)
        made = decoder(next_logits(source.model, cache=cache), prompt, None, watch)
        for place, tokens, size, logs in zip(places, made.tokens, made.lengths.tolist(), made.log_probs):
            new = tokens[length : length + size].tolist()
            found[place] = _finished(source.tokenizer, prompts[rows[place]], new, logs[:size].tolist(), stop)
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


def _watcher(
    tokenizer: Tokenizer, start: int, stop: Sequence[str], stream: Callable[[str], None] | None
) -> Callable[[Tensor], Tensor | None] | None:
    """What looks at the tokens after each step: it tells new text, and says which rows have met a stop text."""
    if not stop and stream is None:
        return None
    shown = 0
    held = max((len(word) for word in stop), default=1) - 1  # the beginning of a stop text is not shown

    def watch(tokens: Tensor) -> Tensor | None:
        nonlocal shown
        texts = [tokenizer.decode(row) for row in tokens[:, start:].tolist()]
        if stream is not None:
            cut = _first_stop(texts[0], stop)
            ready = texts[0][shown : cut if cut is not None else max(shown, len(texts[0]) - held)]
            if ready:
                stream(ready if shown else tokenizer.gap([tokenizer.tokens[int(tokens[0, start])]]) + ready)
            shown += len(ready)
        if not stop:
            return None
        return torch.tensor([_first_stop(text, stop) is not None for text in texts], device=tokens.device)

    return watch
