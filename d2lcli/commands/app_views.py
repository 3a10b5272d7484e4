"""The commands that look at runs, models, configs and machines: their options and help."""

from pathlib import Path
from typing import Annotated, Any

import typer

from d2lcli.commands.arguments import ConfigFile, Json, Overrides


def tokenize(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [KEY=VALUE]...",
            help="A run, a tokenizer's file or a published vocabulary; or what to train one on.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", metavar="TEXT", help="Text to cut; may repeat.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Texts, one a line; - is standard input.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print numbers instead of tokens.")] = False,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the tokenizer as JSON.")] = None,
    json_output: Json = False,
) -> None:
    """Show how a tokenizer cuts text.

    \b
      d2l tokenize runs/lm --text 'the tallest tree'
      d2l tokenize data.tokenizer='{name: bpe, vocab_size: 2000}' --text 'the tallest tree'
      d2l tokenize data=text_file data.path=my.txt data.tokenizer=wordpiece --save wordpiece.json
      d2l tokenize DIR/spiece.model --text 'the tallest tree'
    """
    from d2lcli.commands.tokenize import tokenize as body

    body(words or [], texts=text or [], file=file, ids=ids, save=save, json_output=json_output)


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)],
    overrides: Overrides = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="NAME", help="best, last, a step or a path.")
    ] = "last",
    batches: Annotated[int, typer.Option("--batches", min=2, help="Training batches to look at.")] = 8,
    plot: Annotated[bool, typer.Option("--plot", help="Also draw a picture into RUN/plots.")] = False,
    json_output: Json = False,
) -> Any:
    """Say what is wrong with a run: gradients, activations, saturated and dead units, steps, spectra, curvature.

    \b
      d2l diagnose runs/lenet
      d2l diagnose runs/lenet --checkpoint best --plot
    """
    from d2lcli.commands.diagnose import diagnose as body

    words = [str(run), *(overrides or [])]  # a run may stand after an override
    first = next((word for word in words if "=" not in word and not word.startswith("~")), words[0])
    words.remove(first)
    return body(Path(first), words, checkpoint=checkpoint, batches=batches, plot=plot, json_output=json_output)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of runs, of studies or of cross-validations.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="By default RUN/report.html; ./report.html for several."),
    ] = None,
    png: Annotated[bool, typer.Option("--png/--no-png", help="Also draw each curve into a PNG file beside it.")] = True,
    open_browser: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    json_output: Json = False,
) -> None:
    """Show runs in one HTML file: curves, best values, configs and their differences, samples, confusion matrices.

    The file holds all that it shows, loads nothing and runs no script: send it, archive it, print it.  A run may still
    be training.  A study is shown with its trials.  What other commands leave in a run's folder is shown, too.

    \b
      d2l report runs/lenet
      d2l report runs/lenet runs/resnet18 --output lenet-resnet18.html
      d2l report runs/hpo-lenet --no-png --open
      d2l evaluate runs/lenet task.metrics='[accuracy,confusion_matrix]' --json > runs/lenet/evaluation.json
      d2l diagnose runs/lenet --json > runs/lenet/diagnosis.json
    """
    from d2lcli.commands.report import report as body

    body(runs, output=output, png=png, open_browser=open_browser, json_output=json_output)


def show(
    overrides: Overrides = None,
    config_file: ConfigFile = None,
    json_output: Json = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Instead, draw the learning rate over the run into learning_rate.png here.")
    ] = False,
) -> Any:
    """Print a model: layers, output shapes, parameters, multiply-adds, receptive fields, and the memory to train it.

    With --plot, print and draw the learning rate over the run instead.

    \b
      d2l show model=resnet18
      d2l show model=mlp model.hidden='[1024,1024]' --json
      d2l show scheduler=warmup_cosine epochs=30 --plot
    """
    from d2lcli.commands.show import show as body

    return body(overrides or [], json_output, config_file, plot)


def bench(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC]...",
            help="compute, memory, transfer, launch, layers, models, precision, sequence, storage, collectives, "
            "scaling, roofline; all by default.",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=1, metavar="N", help="GPUs that work together.")] = None,
    cpus: Annotated[
        int | None,
        typer.Option(
            "--cpus", min=1, max=1024, metavar="N", help="Measure the CPU, with N processes where several are asked."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes and repeats: about a minute.")] = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Measure nothing; predict machines that are not here by formula.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the roofline into roofline.png here.")] = False,
    json_output: Json = False,
) -> None:
    """Measure this machine, and keep its profile for `d2l train`.  Short: d2l bench.

    \b
      d2l bench --quick                     every topic, about a minute on two cores
      d2l bench compute memory roofline --plot
      d2l bench collectives scaling --cpus 4
      d2l bench --gpus 8                    on a machine that has them
      d2l bench --gpus 8 --simulate         on one that has not: formulas, marked MODEL
    """
    from d2lcli.commands.bench import bench as body

    body(topics or [], gpus=gpus, cpus=cpus, quick=quick, simulate=simulate, plot=plot, json_output=json_output)


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="model, data, task, optim, scheduler, ...", show_default=False),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Every column, such as sources and sizes.")] = False,
    json_output: Json = False,
) -> None:
    """List what there is to choose from.

    \b
      d2l list
      d2l list model --details
      d2l list optim --json
    """
    from d2lcli.commands.list import list_entries, list_kinds

    if kind is None:
        list_kinds(json_output)
    else:
        list_entries(kind, details=details, json_output=json_output)


def config(
    overrides: Overrides = None,
    config_file: ConfigFile = None,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="KEY", help="Show every layer that sets a key; the last one wins."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Print the composed config, checked as `d2l train` checks it.

    \b
      d2l config model=lenet optim=adamw
      d2l config model=lenet > my.yaml && d2l train --config my.yaml
      d2l config --explain optim.lr experiment=NAME optim.lr=0.1
    """
    from d2lcli.commands.config import explain_key, print_config

    if explain is None:
        print_config(overrides or [], config_file, json_output)
    else:
        explain_key(explain, overrides or [], config_file, json_output)


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print a shell's completion script.

    \b
      eval "$(d2l completion bash)"               in ~/.bashrc
      eval "$(d2l completion zsh)"                in ~/.zshrc
      d2l completion fish | source                in ~/.config/fish/config.fish
    """
    from d2lcli.commands.completion import print_script

    print_script(shell)
