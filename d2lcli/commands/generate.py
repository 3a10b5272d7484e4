"""`d2l generate RUN`: what a run's model can make: text that goes on, translations, filled gaps, drawn functions."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2lcli.errors import ConfigError, DataError, clean, nearest

DEFAULTS = {
    "language_model": "sampling", "sequence_to_sequence": "beam", "text_to_text": "beam",
    "marginal_likelihood": "posterior",
}  # fmt: skip
STREAMING = ("greedy", "sampling")


@dataclass(frozen=True)
class Asked:
    """The options of the command; `d2l generate --help` explains them."""

    prompts: Sequence[str]
    file: Path | None
    num: int
    stop: Sequence[str]
    instruction: str
    examples: Path | None
    shots: int | None
    checkpoint: str
    cache: bool
    attention: Path | None
    json_output: bool

    def texts(self) -> list[str]:
        """All prompts."""
        return [*self.prompts, *(read_lines(self.file) if self.file is not None else [])]


def generate(run: Path | None, overrides: list[str], asked: Asked) -> None:
    """Continue prompts with a run's language model, translate or answer them, or fill their gaps; or draw functions.

    Args:
        run: its folder; None takes the published weights that the override `weights=FOLDER` names.
        overrides: KEY=VALUE, also for the decoder.
        asked: the options.

    Raises:
        ConfigError: a wrong key or prompt, or a run that cannot generate.
        CheckpointError: there is no such run or checkpoint.
    """
    words = [word for word in overrides if word.partition("=")[0].partition(".")[0] == "decoder"]
    others = [word for word in overrides if word not in words]
    task, open_model = _published(others) if run is None else _run(run, others, asked)
    if asked.attention is not None and task != "sequence_to_sequence":
        raise ConfigError("--attention draws what a translation looked at, and this run does not translate")
    shown = (asked.instruction, asked.examples, asked.shots)
    if task not in ("language_model", "text_to_text") and shown != ("", None, None):
        raise ConfigError("--instruction, --examples and --shots are for language models and published T5s")
    if task == "marginal_likelihood":
        _draw(open_model(), read_decoder(words, DEFAULTS[task], task), run, asked)
    elif task == "masked_language_model":
        _no_options(words, asked)
        _fill(open_model(), asked)
    elif task == "sequence_to_sequence":
        decoder = read_decoder(words, DEFAULTS[task])
        if asked.num > 1 or asked.stop:
            raise ConfigError("--num and --stop are for text that goes on; a sentence has one translation")
        _translate(open_model(), decoder, asked)
    elif task == "text_to_text":
        _answer(open_model, read_decoder(words, "sampling" if asked.num > 1 else DEFAULTS[task]), asked)
    else:
        _continue(open_model, read_decoder(words, DEFAULTS.get(task, "greedy")), asked)


def _run(run: Path, overrides: list[str], asked: Asked) -> tuple[str, Callable[[], Any]]:
    """The task of a run, and what opens its model."""
    from d2lcli.training.plan import changed_config

    values = changed_config(run, overrides)
    task: str = values["task"]["name"]

    def opened() -> Any:
        if task == "sequence_to_sequence":
            from d2lcli.generation.translation import open_translator

            return open_translator(run, values, asked.checkpoint)
        if task == "marginal_likelihood":
            from d2lcli.generation.functions import open_function_model

            return open_function_model(run, values, asked.checkpoint)
        from d2lcli.generation.text import open_text_model

        return open_text_model(run, values, asked.checkpoint)

    return task, opened


def _published(overrides: list[str]) -> tuple[str, Callable[[], Any]]:
    """The same of published weights."""
    from d2lcli.generation.published import find_published, open_published

    keys = [word.partition("=")[0] for word in overrides]
    if keys != ["weights"]:
        raise ConfigError("name a run, or one folder of published weights: weights=FOLDER")
    found = find_published(Path(overrides[0].partition("=")[2]).expanduser())
    return found.task, lambda: open_published(found)


def _continue(open_model: Callable[[], Any], decoder: dict[str, Any], asked: Asked) -> None:
    from d2lcli.generation.text import continue_prompts

    texts, stop = _prompts(asked)
    source = open_model()
    chosen = build_decoder(decoder, len(source.tokenizer))
    live = not asked.json_output and len(texts) == asked.num == 1 and decoder["name"] in STREAMING
    if live:
        _show(texts[0])
    with _naming(decoder["name"]):
        found = continue_prompts(
            source, chosen, texts, num=asked.num, stop=stop, cache=asked.cache, stream=_show if live else None
        )
    if live:
        print()
    elif asked.json_output:
        _print_json([asdict(each) | {"text": each.text} for each in found])
    else:
        print("\n\n".join(each.text for each in found))


def _prompts(asked: Asked) -> tuple[list[str], Sequence[str]]:
    """The prompts, with examples before them where some are given, and the texts to stop at."""
    texts = asked.texts() or [" "]
    if asked.instruction == "" and asked.examples is None:
        if asked.shots is not None:
            raise ConfigError("--shots says how many of the --examples are shown, and there are none")
        return texts, asked.stop
    from d2lcli.generation.prompting import few_shot, read_examples

    examples = []
    if asked.examples is not None:
        try:
            examples = read_examples(read_text(asked.examples, "--examples"))
        except ValueError as error:
            raise DataError(f"--examples: {clean(asked.examples)}: {error}") from None
    if asked.shots is not None and asked.shots > len(examples):
        raise ConfigError(f"--shots {asked.shots}: there are {len(examples)} examples")
    shown = examples[: asked.shots]
    return [few_shot(text, shown, asked.instruction) for text in texts], asked.stop or ["\n"]


def _translate(translator: Any, decoder: dict[str, Any], asked: Asked) -> None:
    from d2lcli.generation.translation import attention_map, translate

    texts = asked.texts()
    if not texts:
        raise ConfigError("there is nothing to translate", "give --prompt TEXT, or --file FILE")
    if (max_len := getattr(translator.model, "max_len", None)) is not None:
        decoder["max_tokens"] = min(decoder["max_tokens"], max_len - 1)  # with <bos> they fill the learned positions
    with _naming(decoder["name"]):
        found = translate(translator, build_decoder(decoder, len(translator.target)), texts, cache=asked.cache)
    for each in found:
        if each.unknown:
            _note(f"the model does not know: {clean(', '.join(each.unknown), 200)}")
        if each.left_out:
            _note(f"the model reads no more than {translator.most} tokens: {each.left_out} left out")
    if asked.json_output:
        _print_json([asdict(each) for each in found])
    else:
        print("\n".join(each.shown for each in found))
    if asked.attention is not None:
        map_ = attention_map(translator, found[0])
        if map_ is None:
            raise ConfigError(f"--attention: a {type(translator.model).__name__} has no attention to draw")
        from d2lcli.generation.plots import plot_attention

        print(plot_attention(*map_, asked.attention), file=sys.stderr)


def _answer(open_model: Callable[[], Any], decoder: dict[str, Any], asked: Asked) -> None:
    from d2lcli.generation.text_to_text import answer

    if asked.stop:
        raise ConfigError("--stop is for text that goes on; an answer ends by itself")
    if not asked.texts():
        raise ConfigError("there is nothing to answer", "give --prompt TEXT, or --file FILE")
    texts, _ = _prompts(asked)
    source = open_model()
    chosen = build_decoder(decoder, len(source.tokenizer))
    with _naming(decoder["name"]):
        found = answer(source, chosen, texts, num=asked.num, cache=asked.cache)
    if unknown := list(dict.fromkeys(token for each in found for token in each.unknown)):
        _note(f"the model does not know: {clean(', '.join(unknown), 200)}")
    if asked.json_output:
        _print_json([asdict(each) for each in found])
    else:
        print("\n".join(each.shown for each in found))


def _fill(source: Any, asked: Asked) -> None:
    from d2lcli.generation.filling import fill_gaps

    texts = asked.texts()
    if not texts:
        raise ConfigError("there is nothing to fill", 'give --prompt "It was a <mask> day.", or --file FILE')
    found = fill_gaps(source, texts, max(asked.num, 1))
    if asked.json_output:
        _print_json([asdict(each) for each in found])
        return
    for each in found:
        print(each.text)
        for tokens, probabilities in zip(each.tokens, each.probabilities) if asked.num > 1 else ():
            print("  " + "  ".join(f"{token} {share:.3f}" for token, share in zip(tokens, probabilities)))


def _draw(source: Any, decoder: dict[str, Any], run: Path | None, asked: Asked) -> None:
    """Draw functions of a Gaussian process into a picture below the run, and print where it is."""
    if asked.texts() or asked.stop:
        raise ConfigError("--prompt, --file and --stop are for text, and a Gaussian process draws functions")
    from d2lcli.registry import DECODERS

    with _naming(decoder["name"]):
        drawn = DECODERS.build(**decoder)(source.model, asked.num)
    assert run is not None  # published weights are of models of text
    along = f"_feature_{drawn.feature}" if decoder["feature"] is not None else ""
    path = run / "samples" / f"{decoder['name']}{along}.png"
    parameters = source.model.parameter_values()
    if asked.json_output:
        facts = {"run": str(run), "checkpoint": str(source.checkpoint), "decoder": decoder["name"], "plot": str(path)}
        _print_json(facts | {"parameters": parameters} | asdict(drawn))
    else:
        for name, values in parameters.items():
            print(f"{name:<24}{'  '.join(f'{value:.4g}' for value in values)}")
    if drawn.jitter:
        _note(f"to draw functions, {drawn.jitter:.1e} was added to their variance at each place (jitter)")
    from d2lcli.generation.plots import plot_functions

    # Last: without matplotlib the rest is there.
    shown = plot_functions(drawn, f"{decoder['name']}, {asked.num} drawn", path)
    if not asked.json_output:
        print(shown)


def _no_options(words: Sequence[str], asked: Asked) -> None:
    if words:
        raise ConfigError(f"{clean(words[0], 80)}: a gap is filled with its most probable tokens, without a decoder")
    if asked.stop:
        raise ConfigError("--stop is for text that goes on")


def read_decoder(words: Sequence[str], default: str, task: str = "") -> dict[str, Any]:
    """The decoder's name and options from `decoder=NAME` and `decoder.KEY=VALUE`, checked.

    Args:
        words: those overrides.
        default: the name where none is given.
        task: of the models that have decoders of their own; empty for models of tokens.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    from d2lcli.config.overrides import read_overrides
    from d2lcli.config.places import conf_dir
    from d2lcli.config.problems import Problems
    from d2lcli.config.yaml_text import load_yaml
    from d2lcli.registry import DECODERS
    from d2lcli.registry.options import check_options

    problems, name, options = Problems(), default, {}
    for setting in read_overrides(words, problems):
        if len(setting.key) == 1 or setting.key[1:] == ("name",):
            name = setting.value
        else:
            options[".".join(setting.key[1:])] = setting.value
    names = [each for each in DECODERS.names() if DECODERS.describe(each).task == task]
    if not isinstance(name, str) or name not in names:
        known, hint = ", ".join(names), nearest(str(name), names)
        problems.add(f"decoder: unknown name '{clean(name, 80)}'{hint} (known for this run: {known})")
        problems.raise_any()
    for reason in check_options(options, DECODERS.parameters(name), f"decoder '{name}'"):
        problems.add(reason)
    problems.raise_any()
    return load_yaml(conf_dir() / "decoder" / f"{name}.yaml") | options


def build_decoder(options: dict[str, Any], vocab_size: int) -> Any:
    """The decoder.

    Raises:
        ConfigError: it refuses its options, or a beam is wider than the vocabulary.
    """
    from d2lcli.registry import DECODERS

    if options.get("beam_size", 1) > vocab_size:
        raise ConfigError(
            f"decoder.beam_size: {options['beam_size']} is wider than the vocabulary of {vocab_size} tokens"
        )
    with _naming(options["name"]):
        return DECODERS.build(**options)


def _naming(name: str) -> Any:
    from d2lcli.training.parts import naming_key

    return naming_key(f"decoder '{name}'")


def read_lines(file: Path) -> list[str]:
    """The prompts in a file, one a line; - is stdin.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    found = [line for line in read_text(file, "--file").splitlines() if line]
    if not found:
        raise DataError(f"--file: {clean(file)} holds no prompt")
    return found


def read_text(file: Path, option: str) -> str:
    """The text in a file that an option names; - is stdin.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{option}: {clean(file)} cannot be read: {error.strerror or clean(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{option}: {clean(file)}: not UTF-8 at byte {error.start}") from None


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _print_json(found: Any) -> None:
    from d2lcli.commands.terminal import print_json

    print_json(found)
