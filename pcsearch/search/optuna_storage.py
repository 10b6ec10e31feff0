"""The storage of an Optuna study that lives for one question: trials it is shown, and the asked."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class OneQuestion(InMemoryStorage):
    """Trials that are read where they are, and room for one that is asked.

    `Study.add_trials` copies each in depth and checks it, which takes longer than the answer.

    Args:
        shown: In the order of their numbers.
        number: Of the trial that is asked, higher than all of these.
    """

    def __init__(self, shown: Sequence[FrozenTrial], number: int) -> None:
        super().__init__()
        self._shown = list(shown)
        self._asked = FrozenTrial(
            number=number,
            trial_id=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return int(self._asked.number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._asked

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = [t for t in (*self._shown, self._asked) if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        value = distribution.to_external_repr(param_value_internal)
        self._replace(
            params={**self._asked.params, param_name: value},
            distributions={**self._asked.distributions, param_name: distribution},
        )

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._replace(system_attrs={**self._asked.system_attrs, key: value})

    def _replace(self, **changes: Any) -> None:
        """What a sampler was given before stays as it was, as in Optuna's own storage."""
        self._asked = copy.copy(self._asked)
        for name, value in changes.items():
            setattr(self._asked, name, value)
