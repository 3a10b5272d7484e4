"""The options that every command has, wherever they stand among its words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from d2lcli.errors import ConfigError


@dataclass
class Common:
    """The words of a command without the common options, and those."""

    words: list[str] = field(default_factory=list)
    debug: bool = False
    plugins: list[str] = field(default_factory=list)


def take_common(words: Sequence[str]) -> Common:
    """Take `--debug`, `--plugin MODULE` and `--plugin=MODULE` out of `words`; nothing is taken after `--`.

    Raises:
        ConfigError: `--plugin` without a module.
    """
    common = Common()
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            common.words += [word, *waiting]
            break
        if word == "--debug":
            common.debug = True
        elif word == "--plugin":
            if not waiting:
                raise ConfigError(
                    "option '--plugin' needs the name of a module", "d2l --plugin my.nets train model=my_net"
                )
            common.plugins.append(waiting.pop(0))
        elif word.startswith("--plugin="):
            common.plugins.append(word.removeprefix("--plugin="))
        else:
            common.words.append(word)
    return common
