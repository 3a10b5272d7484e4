"""What the figures of a diagnosis mean, in words, the most important first."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2lcli.diagnosis.report import Diagnosis

SHRINK = 30.0  # fold from the last to the first layer with weights
SATURATED = 0.5
DEAD = 0.3
FAST, SLOW = 0.1, 1e-7  # of a weight's norm, in one update


@dataclass(frozen=True)
class Finding:
    """How grave it is, 0 to 3; what was found; and what to try, empty where nothing is wrong."""

    severity: int
    text: str
    advice: str = ""


def findings(found: "Diagnosis") -> list[Finding]:
    """All findings; one that says so where nothing is conspicuous."""
    seen = [*_symmetry(found), *_flow(found), *_saturation(found), *_dead(found), *_steps(found), *_curvature(found)]
    if not any(finding.severity > 1 for finding in seen):
        seen.append(Finding(1, "no layer is conspicuous: gradients and activations keep their size"))
    return sorted([*seen, *_noise(found)], key=lambda finding: -finding.severity)


def _symmetry(found: "Diagnosis") -> list[Finding]:
    names = [weight.name for weight in found.weights if weight.equal_rows]
    if not names:
        return []
    text = f"all rows of {_names(names)} are equal: its units compute the same and will go on doing so"
    return [Finding(3, text, "begin with random weights: init=xavier_uniform")]


def _flow(found: "Diagnosis") -> list[Finding]:
    """Gradients by the outputs of the layers with weights, from the last to the first."""
    layers = [layer for layer in found.layers if layer.weight_gradient is not None]
    if len(layers) < 3 or layers[-1].gradient == 0:
        return []
    first, last = layers[0], layers[-1]
    if first.gradient == 0:
        return [Finding(3, f"no gradient reaches {first.name}: it cannot learn", _flow_advice(found))]
    ratio = last.gradient / first.gradient
    per_layer = ratio ** (1 / (len(layers) - 1))
    if ratio > SHRINK:
        text = f"gradients vanish: they shrink {_fold(ratio)} from {last.name} to {first.name}, {per_layer:.2g} a layer"
        return [Finding(3, text, _flow_advice(found))]
    if ratio < 1 / SHRINK:
        text = f"gradients explode: they grow {_fold(1 / ratio)} from {last.name} to {first.name}"
        return [Finding(3, text, "clip them, clip_norm=1, begin smaller, init=xavier_uniform, or use batch norm")]
    return []


def _flow_advice(found: "Diagnosis") -> str:
    kinds = {layer.type for layer in found.layers}
    if kinds & {"Sigmoid", "Tanh"}:
        return "use relu with init=kaiming_normal, or batch norm and skip connections"
    return "use init=kaiming_normal, batch norm or skip connections"


def _saturation(found: "Diagnosis") -> list[Finding]:
    layers = [layer for layer in found.layers if (layer.saturated or 0) > SATURATED]
    if not layers:
        return []
    share = max(layer.saturated or 0 for layer in layers)
    text = f"{_names([layer.name for layer in layers])} saturated: up to {share:.0%} of the units are on the flat parts"
    return [Finding(3, text, "begin smaller, init=xavier_uniform, scale the inputs, or use relu")]


def _dead(found: "Diagnosis") -> list[Finding]:
    layers = [layer for layer in found.layers if (layer.dead or 0) > DEAD]
    if not layers:
        return []
    worst = max(layers, key=lambda layer: layer.dead or 0)
    text = (
        f"{_names([layer.name for layer in layers])} dead: {worst.dead:.0%} of the units of {worst.name} are 0 for all"
    )
    return [Finding(2, text, "lower optim.lr, warm up, or use leaky_relu")]


def _steps(found: "Diagnosis") -> list[Finding]:
    known = [weight for weight in found.weights if weight.step is not None and weight.largest is not None]
    fast = [weight for weight in known if (weight.step or 0) > FAST]
    if fast:
        worst = max(fast, key=lambda weight: weight.step or 0)
        text = f"steps are large: the next one changes {worst.name} by {worst.step:.0%} of its norm"
        return [Finding(2, text, f"lower optim.lr, now {found.rate:g}")]
    if known and all((weight.step or 0) < SLOW for weight in known):
        return [
            Finding(2, "steps are tiny: no weight changes by a ten-millionth", f"raise optim.lr, now {found.rate:g}")
        ]
    return []


def _curvature(found: "Diagnosis") -> list[Finding]:
    at = found.curvature
    words = f"Hessian eigenvalues {at.smallest:.3g} to {at.largest:.3g}, gradient norm {found.gradient_norm:.3g}"
    seen = []
    if at.kind == "saddle":
        seen.append(Finding(2, f"this is a saddle, no minimum: {words}", "perturb the weights, or use momentum"))
    elif at.kind == "not critical":
        seen.append(Finding(0, f"not at a critical point: {words}"))
    else:
        place = {"minimum": "a minimum", "maximum": "a maximum", "flat": "a flat place"}[at.kind]
        seen.append(Finding(1, f"this is {place}: {words}"))
    limit = 2 / at.largest if at.largest > 0 else None
    if limit and found.optimizer in ("sgd", "gd") and found.rate > limit:
        text = f"the learning rate {found.rate:g} exceeds 2 / largest eigenvalue = {limit:.3g}: steps there overshoot"
        seen.append(Finding(2, text, f"lower optim.lr below {limit:.3g}"))
    return seen


def _noise(found: "Diagnosis") -> list[Finding]:
    if found.noise_scale is None:
        return []
    text = f"gradient noise scale {found.noise_scale:,.0f} examples, batch {found.batch_size:,}"
    if found.noise_scale > 10 * found.batch_size:
        return [Finding(1, f"{text}: gradients are mostly noise", "a larger data.batch_size, or a smaller rate")]
    return [Finding(0, text)]


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} ... {names[-1]} ({len(names)} layers)"


def _fold(ratio: float) -> str:
    return f"{ratio:,.0f}-fold" if ratio < 1e6 else f"{ratio:.1e}-fold"
