"""The commands: their options and help.  Each body is imported when it runs, so that help and lists cost nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from d2lcli.commands.data_app import CONTEXT, Json, data_app
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

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="What is computed: model=resnet18 optim.lr=0.1 epochs=20", show_default=False
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read overrides from a YAML file; KEY=VALUE wins over it."),
]


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


@app.command()
def train(
    overrides: Overrides = None,
    config_file: ConfigFile = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the new run.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run from its last checkpoint.")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Two updates on a few examples, every stage reached.")] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Resume under a config that changes the trajectory.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Predict parameters, memory and time, and train nothing.")
    ] = False,
    json_output: Json = False,
) -> int:
    """Train a model; evaluate each epoch; print the run's folder.

    \b
      d2l train model=mlp model.hidden='[512,256]' model.dropout=0.5
      d2l train model=lenet optim.lr=0.9 scheduler=cosine epochs=30 --run-dir runs/lenet
      d2l train --resume runs/lenet
      d2l train hardware=ddp hardware.devices=8 model=resnet18
      d2l train model=resnet50 --smoke
      d2l train model=resnet18 --plan       what it will take, after d2l bench has measured this machine
    """
    from d2lcli.commands.train import train as body

    return body(
        overrides or [],
        config_file=config_file,
        run_dir=run_dir,
        resume=resume,
        smoke=smoke,
        json_output=json_output,
        allow_drift=allow_drift,
        plan_only=plan,
    )


@app.command()
def hpo(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Keys of d2l train; those with several values are searched.",
            show_default=False,
        ),
    ] = None,
    asha: Annotated[bool, typer.Option("--asha", help="Asynchronous successive halving; the default.")] = False,
    halving: Annotated[bool, typer.Option("--halving", help="Successive halving, in rounds.")] = False,
    hyperband: Annotated[bool, typer.Option("--hyperband", help="Successive halving from several rungs.")] = False,
    random: Annotated[bool, typer.Option("--random", help="Random search; each trial trains to its end.")] = False,
    grid: Annotated[bool, typer.Option("--grid", help="Every combination of values.")] = False,
    bayes: Annotated[bool, typer.Option("--bayes", help="Bayesian optimisation with a Gaussian process.")] = False,
    trials: Annotated[int | None, typer.Option("--trials", min=1, metavar="N", help="How many trials.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=1024, metavar="N", help="Trials side by side; one per GPU or core."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, metavar="M", help="Stop after so long; resume is possible.")
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Name of the study; its folder is runs/NAME.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Where trials live: sqlite:///FILE or postgresql://..."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the study.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study as it was begun; the newest one by default.")
    ] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="At the end, train the best trial anew.")] = False,
    config_file: ConfigFile = None,
    json_output: Json = False,
) -> int:
    """Search for the best values of keys.  Trials are never lost: stop and resume at any time, on any machine.

    \b
      d2l hpo --asha                        LeNet on embedded data: learning rate and batch size, on all cores
      d2l hpo 'optim.lr=tag(log,interval(1e-4,1))' model=lenet,mlp epochs=27 --trials 50
      d2l hpo --bayes 'optim.lr=tag(log,interval(1e-4,1))' 'model.dropout=interval(0,0.7)' model=mlp
      d2l hpo --grid data.batch_size=32,64,128 optim=sgd,adamw --workers 2
      d2l hpo --resume --study NAME         the same study again; several processes may share one
      d2l hpo --asha --study big --storage postgresql://user@host/studies      from many machines

    \b
    Values: a,b,c or choice(a,b); range(1,5); interval(0.1,1); int(interval(1,9)); tag(log,interval(1e-4,1)).
    Search: search.eta=4 search.r_min=2 search.sampler=bayesian; d2l list search; study.metric=loss.
    """
    from d2lcli.commands.hpo import hpo as body

    chosen = {
        "asha": asha, "successive_halving": halving, "hyperband": hyperband,
        "random": random, "grid": grid, "bayesian": bayes,
    }  # fmt: skip
    names = [name for name, wanted in chosen.items() if wanted]
    if len(names) > 1:
        raise typer.BadParameter(f"{' and '.join(names)} are two searches: choose one")
    return body(
        overrides or [],
        search=names[0] if names else None,
        trials=trials,
        workers=workers,
        minutes=minutes,
        study=study,
        storage=storage,
        run_dir=run_dir,
        resume=resume,
        retrain=retrain,
        config_file=config_file,
        json_output=json_output,
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)],
    overrides: Overrides = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="NAME", help="best, last, a step or a path.")
    ] = "best",
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="val, train, or test where the data has one.")
    ] = "val",
    label_shift: Annotated[
        bool,
        typer.Option("--label-shift", help="Estimate how often each class occurs in the data, and correct for it."),
    ] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="Read the data as a stream, and say where the loss begins to rise.")
    ] = False,
    json_output: Json = False,
) -> Any:
    """Evaluate a checkpoint of a run, with confidence intervals.

    \b
      d2l evaluate runs/lenet
      d2l evaluate runs/lenet data=image_folder data.path=DIR --label-shift
      d2l evaluate runs/lenet data=image_folder data.path=DIR --drift
      d2l evaluate runs/lenet --checkpoint last task.metrics='[accuracy,{name: top_k, k: 3}]'
    """
    from d2lcli.commands.evaluate import evaluate as body

    words = [str(run), *(overrides or [])]  # a run may stand after an override
    first = next((word for word in words if "=" not in word and not word.startswith("~")), words[0])
    words.remove(first)
    if label_shift and drift:
        raise typer.BadParameter("--label-shift and --drift are two questions: ask them one after the other")
    question = "label_shift" if label_shift else "drift" if drift else ""
    return body(Path(first), words, checkpoint=checkpoint, split=split, question=question, json_output=json_output)


@app.command()
def generate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The run's folder; or weights=FOLDER, published weights.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", metavar="TEXT", help="Go on from this text; may be repeated.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Prompts, one a line; - reads stdin.")
    ] = None,
    num: Annotated[
        int,
        typer.Option("--num", min=1, help="Continuations or answers for a prompt, words for a gap, functions, images."),
    ] = 1,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="End before this text; may be repeated.")
    ] = None,
    instruction: Annotated[
        str, typer.Option("--instruction", metavar="TEXT", help="Say what to do before the prompt.", show_default=False)
    ] = "",
    examples: Annotated[
        Path | None, typer.Option("--examples", metavar="FILE", help="Show examples, INPUT tab OUTPUT on each line.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", min=0, metavar="K", help="Show the first K examples; all by default.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="NAME", help="best, last, a step or a path.")
    ] = "best",
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep what was computed for earlier tokens.")
    ] = True,
    attention: Annotated[
        Path | None, typer.Option("--attention", metavar="PNG", help="Draw what the first translation looked at.")
    ] = None,
    json_output: Json = False,
) -> Any:
    """Let a model continue a text, translate, answer (T5), fill gaps (BERT, T5), draw functions (GP) or images (GAN).

    \b
      d2l generate runs/lm --prompt "It was" decoder.temperature=0.7 decoder.max_tokens=200
      d2l generate runs/lm --file prompts.txt decoder=beam decoder.beam_size=4 --json
      d2l generate runs/lm --prompt "The" --num 3 --stop . decoder.top_p=0.9 decoder.seed=1
      d2l generate runs/transformer --prompt "I am tired." --attention attention.png
      d2l generate runs/bert --prompt "It was a <mask> day." --num 5
      d2l generate runs/t5 --prompt "It was a <extra_id_0> day."
      d2l generate runs/textcnn --prompt "A gripping film." --prompt "Dull." --json
      d2l generate runs/pairs --prompt "A man sleeps.\\tNobody is awake."
      d2l generate runs/gp --num 5 decoder=prior
      d2l generate weights=DIR --prompt cheese --instruction "English to French:" --examples pairs.tsv --shots 3
      d2l generate weights=DIR --prompt "translate English to German: I am tired." decoder.beam_size=8
    """
    from d2lcli.commands.generate import generate as body
    from d2lcli.commands.generating.asked import Asked

    words = [run, *(overrides or [])]  # a run may stand after an override
    first = next((word for word in words if "=" not in word and not word.startswith("~")), None)
    if first is not None:
        words.remove(first)
    texts = [text for text in stop or [] if text]
    asked = Asked(
        prompt or [], file, num, texts, instruction, examples, shots, checkpoint, cache, attention, json_output
    )
    return body(Path(first) if first is not None else None, words, asked)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command("benchmark-hardware")
@app.command("bench", hidden=True)
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


@app.command("list")
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


@app.command()
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


@app.command()
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
