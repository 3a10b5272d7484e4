"""What models say of what they are given: classes of images, classes or numbers of texts, tags, answers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import Asked, note
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, clean


def label(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print the class of each text or image with its probability, or its `--num` most probable classes."""
    if "tokenizer" in values["data"]:
        from d2lcli.generation.labelling import classify

        found = [(each, "  |  ".join(each.texts)) for each in _ask(run, values, words, asked, None, classify)]
    else:
        found = [(each, each.path) for each in _see(run, values, words, asked)]
    width = max((len(name) for each, _ in found for name in each.probabilities), default=0)
    for each, given in found:
        best = list(each.probabilities.items())[: max(asked.num, 1)]
        print("  ".join(f"{clean(name, 80):<{width}} {share:.3f}" for name, share in best) + f"  {given}")


def _see(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> list[Any]:
    """The classes of images; `--file` names one itself, or a file with their names."""
    _refuse(words, asked)
    from d2lcli.data.image_files import SUFFIXES
    from d2lcli.generation.seeing import image_paths, open_image_classifier, see

    source = open_image_classifier(run, values, asked.checkpoint)
    one = asked.file is not None and asked.file.suffix.lower() in SUFFIXES
    names = [*asked.prompts, str(asked.file)] if one else asked.texts()
    if not names:
        raise ConfigError("there is no image to judge", "name images or folders of them: --prompt FILE")
    return _shown(see(source, image_paths(names)), asked)


def rate(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print the number of each text."""
    from d2lcli.generation.labelling import rate as rate_texts

    for each in _ask(run, values, words, asked, 1, rate_texts):
        print(f"{each.value:.4g}  {'  |  '.join(each.texts)}")


def tag(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print each text with its tags, each behind its word."""
    from d2lcli.generation.tagging import tag as tag_texts

    for each in _ask(run, values, words, asked, None, tag_texts):
        print(" ".join(f"{word}/{clean(name, 80)}" for word, name in zip(each.words, each.tags)))


def answer(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print the answer to each question, and by how much it is better than none."""
    from d2lcli.generation.answering import answer as answer_questions

    for each in _ask(run, values, words, asked, 2, answer_questions):
        print(f"{each.answer or '(no answer)'}  {each.score:+.2f}  {each.question}")


def _ask(
    run: Path,
    values: dict[str, Any],
    words: Sequence[str],
    asked: Asked,
    num_outputs: int | None,
    judge: Callable[[Any, Sequence[str]], list[Any]],
) -> list[Any]:
    """What a judge finds of texts."""
    _refuse(words, asked)
    from d2lcli.generation.asking import open_encoder

    texts = asked.texts()
    source = open_encoder(run, values, asked.checkpoint, num_outputs)
    if not texts:
        raise ConfigError("there is no text to judge", "give --prompt TEXT, or --file FILE with a text on each line")
    found = judge(source, texts)
    unknown = dict.fromkeys(word for each in found for word in getattr(each, "unknown", ()))
    if unknown:
        note(f"the model does not know: {clean(', '.join(unknown), 200)}")
    for each in found:
        if left_out := getattr(each, "left_out", 0):
            note(f"the model reads no more than {source.num_steps} tokens: {left_out} left out")
    return _shown(found, asked)


def _refuse(words: Sequence[str], asked: Asked) -> None:
    """What models that write are asked."""
    if words or asked.stop:
        given = words[0] if words else "--stop"
        raise ConfigError(f"{clean(given, 80)}: that is for models that write, and this run judges what it is given")


def _shown(found: list[Any], asked: Asked) -> list[Any]:
    """What is left to be printed: nothing after JSON."""
    if asked.json_output:
        print_json([asdict(each) for each in found])
        return []
    return found
