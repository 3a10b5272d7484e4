"""`d2l diagnose RUN`: what is wrong with a run."""

from pathlib import Path

from d2lcli.commands.terminal import print_json, print_table


def diagnose(run: Path, overrides: list[str], *, checkpoint: str, batches: int, plot: bool, json_output: bool) -> None:
    """Measure a run on some training batches, and print findings and tables."""
    from d2lcli.training.files import finite
    from d2lcli.training.plan import changed_config

    values = changed_config(run, overrides)

    from d2lcli.diagnosis.report import Diagnosis
    from d2lcli.diagnosis.report import diagnose as measure

    found: Diagnosis = measure(run, values, checkpoint=checkpoint, batches=batches)
    picture = None
    if plot:
        from d2lcli.diagnosis.plots import plot_diagnosis

        picture = plot_diagnosis(found, run / "plots" / f"diagnosis-{found.step:08d}.png")
    if json_output:
        print_json(finite(found.plain() | {"plot": str(picture) if picture else None}))
        return
    few = "" if found.curvature_batches == batches else f", curvature on {found.curvature_batches} of them"
    print(f"{found.checkpoint} (step {found.step}), {batches} training batches{few}, loss {found.loss:.4g}\n")
    for finding in found.findings:
        print(f"{'!' if finding.severity > 1 else '-'} {finding.text}")
        if finding.advice:
            print(f"    try: {finding.advice}")
    print()
    layers = [
        [layer.name, layer.type, _short(layer.mean), _short(layer.std), _short(layer.gradient)]
        + [_short(layer.weight_gradient), _share(layer.saturated), _share(layer.dead)]
        for layer in found.layers
    ]
    heads = ["layer", "type", "mean", "std", "gradient", "weight gradient", "saturated", "dead"]
    print_table(heads, layers, right=heads[2:], cut="layer")
    print("\ngradient: root mean square, by the layer's outputs; weight gradient: norm\n")
    rows = [
        [weight.name, _short(weight.norm), _short(weight.step), _short(weight.largest), _short(weight.smallest)]
        for weight in found.weights
    ]
    heads = ["weight", "norm", "next step / norm", "largest s.v.", "smallest s.v."]
    print_table(heads, rows, right=heads[1:], cut="weight")
    if found.curvature.gershgorin:
        low, high = found.curvature.gershgorin
        print(f"\nGershgorin: all eigenvalues of the Hessian lie in [{low:.4g}, {high:.4g}]")
    if picture:
        print(f"\n{picture}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
