"""Answers to questions about given texts, found in the text by the model of a finished run (d2l 16.6).

A text that is too long to be read at once is read in windows, each of which has half of the one before in it.

Legend: t tokens of a question with a window of its text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from d2lcli.data.annotated import character_span
from d2lcli.data.marked import Marks, mark
from d2lcli.errors import ConfigError, clean
from d2lcli.generation.asking import Encoder, parted, require_words
from d2lcli.tasks.question_answering import best_spans, ends, may_answer

PAIR = "Who sleeps?\\tA man sleeps in the sun."
ROOM = 8  # tokens of the text that a window has at the least


@dataclass(frozen=True)
class Answered:
    """The answer to one question.

    Attributes:
        question, text: as they were given.
        answer: as it stands in the text; empty where the model finds none.
        start: the characters before it; None where there is none.
        score: by how much the logits of the best answer exceed those of no answer.
        windows: that the text was read in.
    """

    question: str
    text: str
    answer: str
    start: int | None
    score: float
    windows: int


class _Window(NamedTuple):
    """Where a window begins in the tokens of the text, and what the model reads."""

    start: int
    tokens: list[int]
    segments: list[int]


def answer(source: Encoder, prompts: Sequence[str]) -> list[Answered]:
    """The answer to each question, in their order.

    Args:
        source: the model.
        prompts: question, tab, text; for the tab a backslash and a t may stand.

    Raises:
        ConfigError: a prompt has no question, no text, or a question that leaves no room for the text.
    """
    texts = [parted(prompt, True, PAIR) for prompt in prompts]
    windows = [list(_windows(source, *each)) for each in texts]
    outputs = source.outputs([window[1:] for each in windows for window in each])
    found = []
    for (question, text), each in zip(texts, windows, strict=True):
        score, first, last = max(_best(source, window, next(outputs)) for window in each)
        begin, end = character_span(source.tokenizer, text, first, last) if score > 0 else (0, 0)
        found.append(Answered(question, text, text[begin:end], begin if score > 0 else None, score, len(each)))
    return found


def _windows(source: Encoder, question: str, text: str) -> Iterator[_Window]:
    asked, told = source.tokenizer.encode(question), source.tokenizer.encode(text)
    require_words([question, text], [asked, told])
    room = source.num_steps - len(asked) - 3  # the marks
    if room < min(ROOM, len(told)):
        raise ConfigError(
            f"--prompt: the question '{clean(question, 60)}' has {len(asked)} tokens, and the model reads no more than "
            f"{source.num_steps} of question and text together",
            "ask a shorter question",
        )
    start = 0
    while True:
        yield _Window(start, *mark(Marks.of(source.tokenizer), asked, told[start : start + room]))
        if start + room >= len(told):
            return
        start += max(1, room // 2)


def _best(source: Encoder, window: _Window, logits: Tensor) -> tuple[float, int, int]:
    """The margin of the best answer over none, and its first and last token in the text.

    Args:
        source: the model.
        window: what it read.
        logits: (t or more, 2), of the first and the last token.
    """
    lengths = torch.tensor([len(window.tokens)], device=logits.device)
    first, last = ends(logits[None], lengths)
    segments = torch.zeros(1, logits.shape[0], dtype=torch.int64, device=logits.device)
    segments[0, : len(window.segments)] = torch.tensor(window.segments, device=logits.device)
    allowed = may_answer(segments, lengths)
    allowed[:, 0] = False  # no answer is what the others are compared with
    begin, end = best_spans(first, last, allowed, source.values["task"]["max_answer"])[0].tolist()
    margin = first[0, begin] + last[0, end] - first[0, 0] - last[0, 0]
    offset = window.start - window.segments.index(1)
    return float(margin), begin + offset, end + offset
