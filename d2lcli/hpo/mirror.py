"""Writes what happens in a study to Optuna's own tables, so that its dashboard and users' own tools read the study.

All goes through Optuna's storage, but in a transaction of ours: an event and its mirror are there both, or neither.
An error ends that transaction, and `guard` does without the mirror.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from d2lcli.errors import clean
from d2lcli.hpo.events import Event
from d2lcli.hpo.space import Configuration, Dimension, Float, Int
from d2lcli.hpo.tables import tables, to_event

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from sqlalchemy import Connection

T = TypeVar("T")
REASON = "fail_reason"  # the user attribute that says why a trial was given up


class Mirror:
    """Optuna's view of one study.

    Args:
        rdb: Optuna's storage.
        study: the key of the study's row in our table.
        name: of the study.
        space: Optuna's form of each dimension, in JSON.
        mode: min or max.
        say: prints one line.
    """

    def __init__(
        self,
        rdb: "RDBStorage",
        study: int,
        name: str,
        space: Mapping[str, str],
        mode: str,
        say: Callable[[str], None],
    ) -> None:
        from optuna.distributions import json_to_distribution

        self._rdb, self._study, self._name, self._say = rdb, study, name, say
        self._sign = 1.0 if mode == "min" else -1.0
        self._space = {key: json_to_distribution(text) for key, text in space.items()}
        self._told = False

    def guard(self, action: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """Do something with the mirror, or, where another program has changed Optuna's rows, without it.

        The events are what counts, so that nobody has to stop; it is told once.
        """
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return action()
        except (KeyError, RuntimeError, ValueError, OptunaError, SQLAlchemyError) as error:
            if not self._told:
                self._told = True
                self._say(
                    f"warning: another program has changed study {clean(self._name, 80)} in Optuna's tables, "
                    f"which no longer show all of it: {clean(error)}"
                )
        return otherwise()

    def exists(self, connection: "Connection") -> bool:
        """Whether the study is there.  Where it is not, this ends the transaction."""
        with self._joined(connection):
            try:
                self._rdb.get_study_id_from_name(self._name)
            except KeyError:
                return False
        return True

    def begin(self, connection: "Connection") -> None:
        """Make the study.

        Raises:
            DuplicatedStudyError: there is one of this name.
        """
        from optuna.study import StudyDirection

        direction = StudyDirection.MINIMIZE if self._sign > 0 else StudyDirection.MAXIMIZE
        with self._joined(connection):
            self._rdb.create_new_study([direction], self._name)

    def write(self, connection: "Connection", event: Event, number: int, last: bool) -> None:
        """Let Optuna's tables follow an event, whose row is written."""
        with self._joined(connection):
            study = self._rdb.get_study_id_from_name(self._name)  # or the keys of its trials are others' by now
            if event.kind == "start" and event.config is not None:
                self._create(connection, study, event.config, number)
            elif key := self._trial(connection, event.trial):
                self._follow(connection, event, key, last)

    def settle(self, connection: "Connection") -> None:
        """Let our trials that rest be pruned, each with its last value, as Optuna itself does it."""
        from optuna.trial import TrialState
        from sqlalchemy import select

        events = tables().events
        query = select(events.c.optuna_trial).where(events.c.study == self._study, events.c.optuna_trial.is_not(None))
        ours = set(connection.execute(query).scalars())
        with self._joined(connection):
            study = self._rdb.get_study_id_from_name(self._name)
            for trial in self._rdb.get_all_trials(study, deepcopy=False, states=(TrialState.WAITING,)):
                if trial._trial_id in ours:
                    values = None if trial.last_step is None else [trial.intermediate_values[trial.last_step]]
                    self._rdb.set_trial_state_values(trial._trial_id, TrialState.PRUNED, values)

    def restore(self, connection: "Connection") -> None:
        """Make the study anew from the events, where another program has removed it."""
        from sqlalchemy import select

        self.begin(connection)
        events = tables().events
        query = select(events).where(events.c.study == self._study).order_by(events.c.number)
        for row in connection.execute(query).all():
            self.write(connection, to_event(row), row.number, row.last)

    def _create(self, connection: "Connection", study: int, config: Configuration, number: int) -> None:
        """Make a trial that runs."""
        from optuna.trial import TrialState, create_trial

        params = {key: _shown(self._space[key], value) for key, value in config.items()}
        spaces = {key: self._space[key] for key in params}
        trial = create_trial(state=TrialState.RUNNING, params=params, distributions=spaces)
        key = self._rdb.create_new_trial(study, trial)
        events = tables().events
        here = (events.c.study == self._study) & (events.c.number == number)
        connection.execute(events.update().where(here).values(optuna_trial=key))

    def _follow(self, connection: "Connection", event: Event, trial: int, last: bool) -> None:
        """Write what happened to a trial that is there."""
        from optuna.trial import TrialState

        state, values = TrialState.WAITING, None
        if event.kind == "start":
            _wake(connection, trial)
            state = TrialState.RUNNING
        elif event.kind == "report":
            assert event.value is not None
            value = self._sign * event.value
            self._rdb.set_trial_intermediate_value(trial, int(event.resource), value)
            state, values = (TrialState.COMPLETE, [value]) if last else (state, values)
        elif event.kind == "fail":
            self._rdb.set_trial_user_attr(trial, REASON, event.reason)
            state = TrialState.FAIL
        self._rdb.set_trial_state_values(trial, state, values)

    def _trial(self, connection: "Connection", trial: int) -> int | None:
        """The key of a trial in Optuna's table; None where it could not be made."""
        from sqlalchemy import select

        events = tables().events
        query = select(events.c.optuna_trial).where(
            events.c.study == self._study, events.c.trial == trial, events.c.optuna_trial.is_not(None)
        )
        return connection.execute(query).scalar_one_or_none()

    @contextmanager
    def _joined(self, connection: "Connection") -> Iterator[None]:
        """Let Optuna's storage, in this thread, be part of the transaction of a connection."""
        self._rdb.scoped_session.remove()
        self._rdb.scoped_session(bind=connection, join_transaction_mode="rollback_only")
        try:
            yield
        finally:
            self._rdb.scoped_session.remove()


def distribution(dimension: Dimension) -> str:
    """Optuna's form of a dimension, in JSON."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
        distribution_to_json,
    )

    found: BaseDistribution
    if isinstance(dimension, Float):
        found = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    elif isinstance(dimension, Int):
        found = IntDistribution(dimension.low, dimension.high, log=dimension.log)
    else:
        values = dimension.values
        plain = all(map(_plain, values)) and len(set(values)) == len(values)  # to a set, 1 and True are the same
        found = CategoricalDistribution(values if plain else [json.dumps(value) for value in values])
    return distribution_to_json(found)


def _plain(value: Any) -> bool:
    """Whether a choice is one that Optuna can hold, and find again."""
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value))


def _shown(distribution: "BaseDistribution", value: Any) -> Any:
    """A value as Optuna's trials hold it: itself, or its JSON where the choices are not plain, or not distinct."""
    choices = getattr(distribution, "choices", None)
    if choices is None or any(type(choice) is type(value) and choice == value for choice in choices):
        return value
    return json.dumps(value)


def _wake(connection: "Connection", trial: int) -> None:
    """Take back that a trial was pruned: the search was given more trials, and this one may go on.

    Optuna's storage has no way to do so.
    """
    from sqlalchemy import text

    words = {"trial": trial}
    woken = connection.execute(
        text(
            "UPDATE trials SET state = 'WAITING', datetime_complete = NULL WHERE trial_id = :trial AND state = 'PRUNED'"
        ),
        words,
    )
    if woken.rowcount:
        connection.execute(text("DELETE FROM trial_values WHERE trial_id = :trial"), words)
