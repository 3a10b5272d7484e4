"""The commands.  Each body is imported when it runs, so that help and lists cost nothing."""

from typing import Annotated

import typer

from d2lcli.commands import app_runs, app_views
from d2lcli.commands.arguments import CONTEXT
from d2lcli.commands.data_app import data_app
from d2lcli.commands.suggestions import SuggestingGroup

app = typer.Typer(
    cls=SuggestingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)
app.add_typer(data_app, name="data", help="What data there is, where it was found, its checksums.")


def _print_version(wanted: bool) -> None:
    if wanted:
        from d2lcli import __version__

        print(f"d2l {__version__}")
        raise typer.Exit


@app.callback(context_settings=CONTEXT)
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.  Any command.")] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="MODULE", help="Import a module that registers entries of its own.  Any command."
        ),
    ] = None,
) -> None:
    """Train, evaluate and inspect every model of Dive into Deep Learning.

    KEY=VALUE says what is computed, --options say how a command runs; they may stand in any order.

    \b
      d2l train model=lenet                 on embedded data, a run folder is written
      d2l train model=resnet18 data=fashion_mnist optim=adamw optim.lr=1e-3
      d2l hpo --asha                        search for a learning rate and a batch size
      d2l list model                        what there is to choose from
      d2l config optim=adamw                all keys and their values
      eval "$(d2l completion bash)"         completion of commands, keys and choices

    \b
    Exit codes: 0 done, 1 the run failed, 2 usage or config, 3 data, 4 checkpoint, 5 loss not finite,
    6 out of memory, 7 a worker was lost, 130 and 143 stopped by a signal after saving.
    """


for body in (
    app_runs.train, app_runs.hpo, app_runs.evaluate, app_runs.generate,
    app_views.tokenize, app_views.diagnose, app_views.report, app_views.show,
):  # fmt: skip
    app.command()(body)
app.command("bench", hidden=True)(app_views.bench)
app.command("benchmark-hardware")(app_views.bench)
app.command("list")(app_views.list_)
app.command()(app_views.config)
app.command()(app_views.completion)
