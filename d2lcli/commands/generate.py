"""`d2l generate RUN`: what a run's model can make: texts, translations, functions, pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2lcli.commands.generating import functions, images, labels, policies, texts, translations, words
from d2lcli.commands.generating.asked import Asked
from d2lcli.errors import ConfigError

# What the models of these tasks make: a function of the run, its config, the decoder's words and the options.
KINDS: dict[str, Callable[[Path, dict[str, Any], list[str], Asked], None]] = {
    "classification": labels.label,
    "gan": images.generate,
    "glove": words.look_up,
    "marginal_likelihood": functions.draw,
    "policy_evaluation": policies.play,
    "policy_iteration": policies.play,
    "q_learning": policies.play,
    "question_answering": labels.answer,
    "regression": labels.rate,
    "tagging": labels.tag,
    "value_iteration": policies.play,
    "word_embedding": words.look_up,
}


def generate(run: Path | None, overrides: list[str], asked: Asked) -> None:
    """Let a run's model make what it can.

    Args:
        run: its folder; None takes the published weights that the override `weights=FOLDER` names.
        overrides: KEY=VALUE, also for the decoder.
        asked: the options.

    Raises:
        ConfigError: a wrong key or prompt, or a run that cannot generate.
        CheckpointError: there is no such run or checkpoint.
    """
    decoder = [word for word in overrides if word.partition("=")[0].partition(".")[0] == "decoder"]
    others = [word for word in overrides if word not in decoder]
    if run is None and (vectors := _word_vectors(others)) is not None:
        _refuse("word_embedding", asked)
        words.look_up_file(vectors, decoder, asked)
        return
    if run is None:
        task, open_model = _published(others)
    else:
        from d2lcli.training.plan import changed_config

        values = changed_config(run, others)
        task = values["task"]["name"]
        open_model = _opener(task, run, values, asked)
    _refuse(task, asked)
    if run is not None and task in KINDS:
        KINDS[task](run, values, decoder, asked)
    else:
        _texts(task, open_model, decoder, asked)


def _refuse(task: str, asked: Asked) -> None:
    """Options that other kinds of models have."""
    if asked.attention is not None and task != "sequence_to_sequence":
        raise ConfigError("--attention draws what a translation looked at, and this run does not translate")
    shown = (asked.instruction, asked.examples, asked.shots)
    if task not in ("language_model", "text_to_text") and shown != ("", None, None):
        raise ConfigError("--instruction, --examples and --shots are for language models and published T5s")


def _opener(task: str, run: Path, values: dict[str, Any], asked: Asked) -> Callable[[], Any]:
    """What opens a run's model of text."""

    def opened() -> Any:
        if task == "sequence_to_sequence":
            from d2lcli.generation.translation import open_translator

            return open_translator(run, values, asked.checkpoint)
        from d2lcli.generation.text import open_text_model

        return open_text_model(run, values, asked.checkpoint)

    return opened


def _word_vectors(overrides: list[str]) -> Path | None:
    """The text file of word vectors that `weights` names, by its ending."""
    from d2lcli.training.origin import VECTORS

    keys = [word.partition("=")[0] for word in overrides]
    path = Path(overrides[0].partition("=")[2]).expanduser() if keys == ["weights"] else Path()
    return path if path.suffix.lower() in VECTORS else None


def _published(overrides: list[str]) -> tuple[str, Callable[[], Any]]:
    """The task of published weights, and what opens them."""
    from d2lcli.generation.published import find_published, open_published

    keys = [word.partition("=")[0] for word in overrides]
    if keys != ["weights"]:
        raise ConfigError("name a run, or one folder of published weights: weights=FOLDER")
    found = find_published(Path(overrides[0].partition("=")[2]).expanduser())
    return found.task, lambda: open_published(found)


def _texts(task: str, open_model: Callable[[], Any], decoder: list[str], asked: Asked) -> None:
    if task == "masked_language_model":
        texts.fill(open_model, decoder, asked)
    elif task == "sequence_to_sequence":
        translations.translate(open_model, decoder, asked)
    elif task == "text_to_text":
        texts.answer(open_model, decoder, asked)
    else:
        texts.go_on(open_model, decoder, asked, "sampling" if task == "language_model" else "greedy")
