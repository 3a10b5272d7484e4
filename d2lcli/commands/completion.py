"""Completion of commands, options, keys, choices and values, from tables and signatures; nothing heavy is imported.

The shells' scripts hand over the line up to the cursor and print back what `candidates` offers.
"""

import shlex
from collections.abc import Sequence
from typing import Any

from d2lcli.errors import ConfigError, clean, nearest

_SCRIPTS = {
    "bash": """_d2l() {
    local IFS=$'\\n'
    COMPREPLY=($(d2l --complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -o default -F _d2l d2l
""",
    "zsh": """_d2l() {
    local -a found
    found=("${(@f)$(d2l --complete zsh "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- $found || _files
}
compdef _d2l d2l
""",
    "fish": """complete -c d2l -a '(d2l --complete fish (commandline -cp))'
""",
}


def print_script(shell: str) -> None:
    """Print the script that a shell's start-up file should evaluate.

    Raises:
        ConfigError: the shell is unknown.
    """
    if shell not in _SCRIPTS:
        raise ConfigError(
            f"completion: unknown shell '{clean(shell, 80)}'{nearest(shell, _SCRIPTS)} (known: bash, zsh, fish)"
        )
    print(_SCRIPTS[shell], end="")


def print_candidates(words: Sequence[str]) -> None:
    """Answer a script's call: the shell's name and the line up to the cursor."""
    shell, line = (*words, "", "")[:2]
    found = candidates(line)
    if shell == "bash":  # bash takes = for the end of a word and wants what comes after it
        last = _split(line)[-1]
        kept = len(last.rpartition("=")[0]) + 1 if "=" in last else 0
        found = [word[kept:] for word in found]
    for word in found:
        print(word)


def candidates(line: str) -> list[str]:
    """The words that the last word of a line, which may be empty, can become.

    Args:
        line: `d2l train model=res`.
    """
    words = _split(line)
    done, last = words[1:-1], words[-1]
    command, path = _command(done)
    if last.startswith("-"):
        options = {option for parameter in command.params for option in parameter.opts}
        found = sorted(options | {"--help", "--debug", "--plugin"})
    elif hasattr(command, "commands"):
        found = list(command.commands)
    elif path == ["list"]:
        from d2lcli.commands.list import KINDS

        found = list(KINDS)
    elif path in (["bench"], ["benchmark-hardware"]):
        from d2lcli.hardware.topics import TOPICS

        found = list(TOPICS)
    elif path[:1] == ["data"]:
        from d2lcli.registry import DATASETS

        found = DATASETS.names()
    elif path == ["completion"]:
        found = list(_SCRIPTS)
    else:
        found = _overrides(done, last)
    return [word for word in found if word.startswith(last)]


def _split(line: str) -> list[str]:
    """The words of a line; the last one is what stands at the cursor, perhaps nothing."""
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(line + closing)
            return [*words, ""] if not words or line[-1:].isspace() else words
        except ValueError:
            continue
    return ["", ""]


def _command(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that words name, and its names."""
    from typer.main import get_command

    from d2lcli.commands.app import app

    command: Any = get_command(app)
    path: list[str] = []
    for word in words:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
            path.append(word)
    return command, path


def _overrides(done: Sequence[str], last: str) -> list[str]:
    """Keys, or the values of the key that is there already."""
    from d2lcli.config.places import BUNDLES, conf_names
    from d2lcli.config.schema import GROUPS, hardware_parameters, run_parameters

    prefix = "++" if last.startswith("++") else last[:1] if last[:1] in ("+", "~") else ""
    key, equals, _ = last[len(prefix) :].partition("=")
    keys = {f"hardware.{name}": parameter for name, parameter in hardware_parameters().items()}
    keys |= run_parameters()
    for group, name in chosen(done).items():
        keys |= {f"{group}.{option}": parameter for option, parameter in _node(group, name).items()}
    if not equals:
        groups = [f"{group}=" for group in (*GROUPS, *BUNDLES)]
        nodes = (
            [f"{name}=" for name in keys if "." in name]
            if "." in key
            else [f"{group}." for group in (*GROUPS, "hardware")]
        )
        return [prefix + word for word in (*groups, *nodes, *(f"{name}=" for name in run_parameters()))]
    if key in GROUPS:
        values = GROUPS[key].names()
    elif key in BUNDLES:
        values = list(conf_names(key))
    elif key in keys:
        parameter = keys[key]
        values = ["true", "false"] if parameter.type == "bool" else [str(choice) for choice in parameter.choices]
    else:
        values = []
    return [f"{prefix}{key}={value}" for value in values]


def chosen(words: Sequence[str]) -> dict[str, str]:
    """The entry of each group: those chosen in `words`, else the defaults of conf/train.yaml and of the model."""
    from d2lcli.config.layers import root_document
    from d2lcli.config.schema import GROUPS
    from d2lcli.registry import MODELS

    found: dict[str, str] = {}
    for line in root_document("train").values["defaults"]:
        found |= {key: name for key, name in line.items() if key in GROUPS and name} if isinstance(line, dict) else {}
    for word in words:
        key, _, name = word.lstrip("+").partition("=")
        key = key.removesuffix(".name")
        if key in GROUPS and name in GROUPS[key]:
            found[key] = name
    entry = MODELS.describe(found["model"])
    return entry.brings | found


def _node(group: str, name: str) -> dict[str, Any]:
    from d2lcli.config.schema import node_parameters

    return node_parameters(group, name)
