"""A group of commands whose usage errors name what was given and offer the nearest command or option."""

from typing import Any

from typer.core import TyperGroup

from d2lcli.errors import ConfigError, clean, nearest


class PipeClosed(Exception):
    """stdout's reader has gone.  Typer would turn the BrokenPipeError itself into exit code 1."""


class SuggestingGroup(TyperGroup):
    """Commands in the order of their definition; unknown ones are answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begins with.

        Raises:
            ConfigError: there is none.
        """
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            hint = nearest(word, self.commands) or f" (known: {', '.join(self.commands)})"
            raise ConfigError(
                f"{ctx.command_path}: unknown command '{clean(word, 80)}'{hint}", f"see: {ctx.command_path} --help"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosed from error
