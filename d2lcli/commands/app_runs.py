"""`d2l train`, `hpo`, `evaluate` and `generate`: their options and help."""

from pathlib import Path
from typing import Annotated, Any

import typer

from d2lcli.commands.arguments import ConfigFile, Json, Overrides


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


def generate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The run's folder; or weights=FOLDER, published weights.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="Go on from this text, or judge it; a file for a run on images; may be repeated; also prompt=TEXT.",
        ),
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
    """Let a model go on with a text, translate, fill gaps, judge, tag or answer, draw functions (GP) or images (GAN).

    \b
      d2l generate runs/lm --prompt "It was" decoder.temperature=0.7 decoder.max_tokens=200
      d2l generate runs/lm --file prompts.txt decoder=beam decoder.beam_size=4 --json
      d2l generate runs/lm --prompt "The" --num 3 --stop . decoder.top_p=0.9 decoder.seed=1
      d2l generate runs/transformer --prompt "I am tired." --attention attention.png
      d2l generate runs/bert --prompt "It was a <mask> day." --num 5
      d2l generate runs/t5 --prompt "It was a <extra_id_0> day."
      d2l generate runs/textcnn --prompt "A gripping film." --prompt "Dull." --json
      d2l generate runs/pairs --prompt "A man sleeps.\\tNobody is awake."
      d2l generate runs/answers --prompt "Who sleeps?\\tA man sleeps in the sun."
      d2l generate runs/resnet18 --prompt photo.jpg --prompt FOLDER --num 3
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
    prompts = [*(prompt or []), *(word.partition("=")[2] for word in words if word.startswith("prompt="))]
    words = [word for word in words if not word.startswith("prompt=")]  # what to go on with may be a key, too
    texts = [text for text in stop or [] if text]
    asked = Asked(prompts, file, num, texts, instruction, examples, shots, checkpoint, cache, attention, json_output)
    return body(Path(first) if first is not None else None, words, asked)
