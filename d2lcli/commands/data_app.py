"""`d2l data`: its commands, their options and help."""

from typing import Annotated

import typer

from d2lcli.commands.arguments import CONTEXT, Json
from d2lcli.commands.suggestions import SuggestingGroup

data_app = typer.Typer(
    cls=SuggestingGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets; all where none is named.")]


@data_app.command("list")
def data_list(json_output: Json = False) -> None:
    """List the data sets and where their files were found."""
    from d2lcli.commands.data import list_data

    list_data(json_output)


@data_app.command("fetch")
def data_fetch(names: Names = None, json_output: Json = False) -> None:
    """Download data sets that are not on this machine; checksums are checked.

    \b
      d2l data fetch fashion_mnist
    """
    from d2lcli.commands.data import fetch_data

    fetch_data(names or [], json_output)


@data_app.command("check")
def data_check(names: Names = None, json_output: Json = False) -> None:
    """Read data files again and compare their checksums."""
    from d2lcli.commands.data import check_data

    check_data(names or [], json_output)
