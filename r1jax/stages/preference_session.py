"""A session whose validations ask reward models too, so that pleasing them can be told from answering well."""

from __future__ import annotations

from collections.abc import Callable

from r1jax.config import GrpoConfig
from r1jax.learn.state import StepConfig
from r1jax.stages.context import RunContext
from r1jax.stages.evaluate import Evaluation, evaluate, sample_lines
from r1jax.stages.preference_rewards import PreferenceRewards
from r1jax.stages.session import Session


class PreferenceSession(Session):
    """As any session; validated also before the first update, which shows what preferences change."""

    def __init__(
        self,
        stage: GrpoConfig,
        run: RunContext,
        step_fn: Callable,
        config: StepConfig,
        preferences: PreferenceRewards,
    ):
        super().__init__(stage, run, step_fn, config)
        self._preferences = preferences

    def look_before_training(self) -> None:
        """Validates what the stage starts from, as step 0; once, for a stage that resumes has done so.

        It is no candidate for the best checkpoint, and no part of the plateau.
        """
        if self.begins and self.stage.preferences and self.stage.validation is not None:
            self._look()
            self._look_at(self.metrics.flush())

    def _more_figures(self, result: Evaluation) -> dict[str, float]:
        """What the reward models say of the samples of `preference_validation`, or of those of the validation."""
        if not self.stage.preferences:
            return {}
        if self.stage.preference_validation is not None:
            result = evaluate(
                self.state.policy,
                self.stage.preference_validation,
                run=self.run,
                template=self.stage.template,
                purpose=f"{self.stage.name}/preference_validation",
            )
            lines = sample_lines(result.prompts, result.graded, self.run.config.logging.samples_per_step)
            self.log_samples([{"kind": "preference_validation", **line} for line in lines])
        return self._preferences.figures(self.step, result.prompts, result.graded)
