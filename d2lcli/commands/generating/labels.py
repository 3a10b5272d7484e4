"""Classes of given texts, or pairs of texts."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import Asked, note
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, clean


def label(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print the class of each text with its probability, or its `--num` most probable classes."""
    if words or asked.stop:
        given = words[0] if words else "--stop"
        raise ConfigError(f"{clean(given, 80)}: that is for models that write, and this run classifies")
    from d2lcli.generation.labelling import classify, open_classifier

    texts = asked.texts()
    source = open_classifier(run, values, asked.checkpoint)
    if not texts:
        raise ConfigError("there is nothing to classify", "give --prompt TEXT, or --file FILE with a text on each line")
    found = classify(source, texts)
    if unknown := list(dict.fromkeys(word for each in found for word in each.unknown)):
        note(f"the model does not know: {clean(', '.join(unknown), 200)}")
    for each in found:
        if each.left_out:
            note(f"the model reads no more than {source.num_steps} tokens: {each.left_out} left out")
    if asked.json_output:
        print_json([asdict(each) for each in found])
        return
    width = max(map(len, source.classes))
    for each in found:
        best = list(each.probabilities.items())[: max(asked.num, 1)]
        shown = "  ".join(f"{clean(name, 80):<{width}} {share:.3f}" for name, share in best)
        print(f"{shown}  {'  |  '.join(each.texts)}")
