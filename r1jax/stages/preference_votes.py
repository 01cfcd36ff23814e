"""Who says which of two answers is better, in batches: the run's judge, or a rule of one's own."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from r1jax.chat_client import ChatClient, ChatError, Conversation, NoReply, Sampling
from r1jax.config import ConfigError, PreferencesConfig, RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards.judge.ask import Ask, of_endpoint
from r1jax.rewards.judge.votes import Pair, preferences
from r1jax.stages.collect_rules import rule_of
from r1jax.stages.collect_teacher import any_answer, endpoint, greet
from r1jax.stages.context import RunContext

Json = Any
MOST = 2.0  # of a preference, either way


class JudgeVotes:
    """Votes of `rewards.judge` (votes.preferences). ConfigError without a url. Use as a context manager."""

    def __init__(self, stage: PreferencesConfig, run: RunContext):
        settings = run.config.rewards.judge
        check_voter(stage, run.config.rewards)
        self.name = settings.model
        self._stage, self._seed = stage, run.seed_of(f"{stage.name}/votes")
        self._sampling = Sampling(settings.max_tokens, stage.vote_temperature)
        self._client = ChatClient(endpoint(settings))
        self._greeted = False

    def __enter__(self) -> JudgeVotes:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def votes(self, pairs: Sequence[Pair]) -> list[list[Json]]:
        """The votes on each pair; UserError where the judge is out of reach for all of them."""
        if not self._greeted:
            greet(self._client, "rewards.judge.url")
            self._greeted = True
        ask = _must_answer(of_endpoint(self._client, self._sampling), self._stage.name)
        return [
            [
                {"swapped": vote.swapped, "label": vote.label, "value": vote.value, "reason": vote.reason}
                for vote in found.votes
            ]
            for found in preferences(ask, pairs, self._stage.votes, self._seed)
        ]


class RuleVotes:
    """Two votes of a rule on each pair: once as it is, once swapped and turned back, so that places cancel."""

    def __init__(self, stage: PreferencesConfig):
        self.name = stage.rule
        self._stage = stage
        self._rule = rule_of(stage.rule, f"{stage.name}.rule")

    def __enter__(self) -> RuleVotes:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open."""

    def votes(self, pairs: Sequence[Pair]) -> list[list[Json]]:
        """Both votes on each pair; UserError for a rule that gives no number in [-2, 2]."""
        return [
            [
                {"swapped": False, "value": self._value(pair.question, pair.first, pair.second)},
                {"swapped": True, "value": -self._value(pair.question, pair.second, pair.first)},
            ]
            for pair in pairs
        ]

    def _value(self, *texts: str) -> float:
        value = self._rule(*texts)
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not abs(value) <= MOST:
            raise UserError(
                f"{self._stage.name}.rule {self.name}: expected a number in [-2, 2], above 0 for the first answer, "
                f"found {value!r} for {texts[0][:60]!r}"
            )
        return float(value)


def _must_answer(ask: Ask, name: str) -> Ask:
    """`ask`, which raises UserError where none of the first questions gets through."""
    answered = False

    def asked(conversations: Sequence[Conversation]) -> Sequence[str | ChatError]:
        nonlocal answered
        replies = ask(conversations)
        if not answered:
            any_answer(list(replies), name)
        answered = answered or not all(isinstance(one, NoReply) for one in replies)
        return replies

    return asked


Voter = JudgeVotes | RuleVotes


def check_voter(stage: PreferencesConfig, rewards: RewardsConfig) -> None:
    """ConfigError for a rule that is not there, or where there is neither a rule nor a judge."""
    if stage.rule is not None:
        rule_of(stage.rule, f"{stage.name}.rule")
    elif rewards.judge.url is None:
        raise ConfigError(
            f"{stage.name}: expected the url of a judge in rewards.judge.url, such as http://host:8000/v1, or a rule; "
            "found neither"
        )


def voter(stage: PreferencesConfig, run: RunContext) -> Voter:
    """The rule of the stage, or else the run's judge."""
    return JudgeVotes(stage, run) if stage.rule is None else RuleVotes(stage)
