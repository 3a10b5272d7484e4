"""The part of a report that is about a study of `d2l hpo`: its outcome, its best value over time, its trials."""

from collections.abc import Iterator

from d2lcli.reporting.curves import Chart, Line
from d2lcli.reporting.markup import lines, table, text
from d2lcli.reporting.scales import duration, figure
from d2lcli.reporting.study import Study, Trial
from d2lcli.reporting.summary import measured
from d2lcli.reporting.svg import Axis, draw
from d2lcli.reporting.values import mapping, number

MOST = 200  # trials in the table


def search(study: Study) -> Iterator[str]:
    """The pieces of the section."""
    result, best = study.result, mapping(study.result.get("best"))
    if result:
        states = mapping(result.get("trials")).items()
        said = ", ".join(f"{figure(count)} {state}" for state, count in states if count and state != "total")
        goal = f"{'largest' if result.get('mode') == 'max' else 'smallest'} {result.get('metric')}"
        spent = duration(number(result.get("seconds")) or 0.0)
        yield f"<p>{text(result.get('search'))}, {text(goal)}; {text(said)}; {spent}; {text(result.get('status'))}</p>"
    if best:
        resource = f"{figure(best.get('resource'))} {result.get('resource')}"
        yield (
            f"<p>Best: trial {text(best.get('trial'))}, {text(result.get('metric'))} {measured(best.get('value'))} "
            f"after {text(resource)}. Its whole run:</p><pre>{lines(str(best.get('command')))}</pre>"
        )
    if len(study.incumbents) > 1:
        yield _incumbents(study)
    if study.result and study.trials:
        yield _trials(study)


def _incumbents(study: Study) -> str:
    """The best value so far, as a staircase that ends when the search did."""
    end = number(study.result.get("seconds")) or 0.0
    xs: list[float] = []
    ys: list[float] = []
    for seconds, value in study.incumbents:
        if ys:
            xs, ys = [*xs, seconds], [*ys, ys[-1]]
        xs, ys = [*xs, seconds], [*ys, value]
    line = Line(0, "best so far", "line", {"search": [*xs, max(end, xs[-1])]}, [*ys, ys[-1]])
    title = f"best {study.result.get('metric')} so far"
    picture = draw(Chart("incumbents", title, False, [line]), Axis("search", "seconds", 1.0, max(end, xs[-1])), ["k0"])
    return f'<div class="charts"><figure class="chart"><h3>{text(title)}</h3>{picture}</figure></div>'


def _trials(study: Study) -> str:
    """Trials, the best first: their values of the space, and the metric at each rung."""
    keys = list(dict.fromkeys(key for trial in study.trials for key in trial.config))
    rungs = sorted({resource for trial in study.trials for resource in trial.values})
    unit = study.result.get("resource") or ""
    heads = ["trial", *(f"<code>{text(key, 80)}</code>" for key in keys)]
    heads += [text(f"{figure(rung)} {unit}") for rung in rungs]
    rows = [_trial(trial, keys, rungs) for trial in study.ranked[:MOST]]
    hidden = len(study.trials) - len(rows)
    more = f'<p class="note">{hidden:,} more trials are in events.jsonl</p>' if hidden else ""
    return "<h3>Trials</h3>\n" + table([*heads, "state", "time"], rows, "numbers") + more


def _trial(trial: Trial, keys: list[str], rungs: list[float]) -> list[str]:
    kind = {"finished": "good", "failed": "bad"}.get(trial.state, "")
    reason = f' <span class="dim">{text(trial.reason, 120)}</span>' if trial.reason else ""
    values = [trial.config.get(key, "") for key in keys]
    return [
        f"{trial.number:04d}",
        *(measured(value) for value in values),
        *(measured(trial.values[rung]) if rung in trial.values else "" for rung in rungs),
        f'<span class="status {kind}">{text(trial.state, 40)}</span>{reason}',
        duration(trial.seconds),
    ]
