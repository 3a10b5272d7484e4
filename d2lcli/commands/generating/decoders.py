"""The decoder of `d2l generate`, read from its overrides."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from d2lcli.errors import ConfigError, clean, nearest


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
    with naming_decoder(options["name"]):
        return DECODERS.build(**options)


def naming_decoder(name: str) -> AbstractContextManager[None]:
    """Let a ValueError within this block name the decoder."""
    from d2lcli.training.parts import naming_key

    return naming_key(f"decoder '{name}'")
