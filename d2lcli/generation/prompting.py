"""Prompts that show a language model what to do: zero, one or a few examples before the question (d2l 11.9)."""

from collections.abc import Sequence

ARROW = " =>"


def few_shot(prompt: str, examples: Sequence[tuple[str, str]] = (), instruction: str = "") -> str:
    """The instruction, each example as INPUT => OUTPUT, and the prompt with an arrow after it, each on its own line.

    Without examples this is a zero-shot prompt; the weights of the model stay as they are (Brown et al., 2020, figure
    2.1).

    Args:
        prompt: the question.
        examples: inputs and outputs.
        instruction: what to do, in words.
    """
    lines = [instruction] if instruction else []
    lines += [f"{given}{ARROW} {answer}" for given, answer in examples]
    return "\n".join([*lines, f"{prompt}{ARROW}"])


def read_examples(text: str) -> list[tuple[str, str]]:
    """The examples in a text of lines INPUT tab OUTPUT.

    Raises:
        ValueError: a line that is none.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        given, tab, answer = line.partition("\t")
        if line.strip() and not (tab and given.strip() and answer.strip()):
            raise ValueError(f"line {number} is not INPUT, tab, OUTPUT")
        if line.strip():
            found.append((given.strip(), answer.strip()))
    return found
