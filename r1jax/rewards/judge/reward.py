"""The generative reward: a judge compares the completion's answer with the reference of its record.

| what happened                                              | status               | value  |
| ---------------------------------------------------------- | -------------------- | ------ |
| the judge finds it correct                                 | correct              | 1      |
| ... or not                                                 | wrong                | 0      |
| nothing after the thinking, or an empty answer tag         | no_answer (unasked)  | 0      |
| no verdict that can be read, or this one prompt is refused | verifier_error       | masked |
| the endpoint does not answer, after all tries              | infrastructure_error | masked |
| wrong key, model or url                                    | raises UserError     |        |
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from r1jax.chat_client import ChatClient, Endpoint, NoReply, Sampling
from r1jax.config import ConfigError, RewardsConfig
from r1jax.config.rewards import JudgeConfig
from r1jax.errors import UserError
from r1jax.rewards.judge.ask import Generate, Unreadable, of_endpoint, of_model
from r1jax.rewards.judge.judgement import Case, Judgement, judge
from r1jax.rewards.judge.prompts import MOST_CHARS, cut_middle, final_part
from r1jax.rewards.judge.remembered import Remembered
from r1jax.rewards.verdicts import Item, Reward, Score, Status, require_field

REMEMBERED = 8192  # judgements of an endpoint
LOGGED_FAILURES = 20  # a line each, then silence: the health figures have the rates
GREETING = [{"role": "user", "content": "Reply with the word ready."}]
GREETING_TOKENS = 16

Judge = Callable[[Sequence[Case]], Sequence]  # a Judgement, or an exception, of each

log = logging.getLogger("r1jax.rewards")


def judge_reward(config: RewardsConfig) -> Reward:
    """The reward `judge`: asks the endpoint of `config.judge`.

    `prepare` sends one short request, so that a wrong url, key or model is a UserError before anything is sampled;
    without a url it is a ConfigError.
    """
    settings = config.judge
    made: list[ChatClient] = []  # one, when it is first needed: a Reward is a plain value
    lock = threading.Lock()

    def client() -> ChatClient:
        with lock:
            if not made:
                made.append(ChatClient(endpoint_of(settings)))
            return made[0]

    def close() -> None:
        with lock:
            opened = made[:]
            made.clear()
        for one in opened:
            one.close()

    sampling = Sampling(settings.max_tokens, settings.temperature)
    remembered = Remembered(
        lambda cases: judge(of_endpoint(client(), sampling), cases), lambda one: isinstance(one, Judgement), REMEMBERED
    )

    def prepare() -> dict[str, str]:
        reply = client().complete([GREETING], Sampling(GREETING_TOKENS, settings.temperature))[0]
        if isinstance(reply, Exception):
            raise UserError(f"rewards.judge.url: expected an endpoint that answers, found {reply}")
        return {"judge": settings.model, "url": settings.url}

    score = _scorer(remembered, lambda words: client().endpoint.without_key(words))
    return Reward(score, low=0.0, high=1.0, threads=settings.concurrency, prepare=prepare, close=close)


def judge_of(generate: Generate) -> Reward:
    """A judge that is a model of ours: `generate` continues a batch of conversations, in the caller's thread.

    Nothing is remembered from one batch to the next, since such a model learns. RewardError where `generate` does
    not give as many texts.
    """
    return Reward(_scorer(lambda cases: judge(of_model(generate), cases)), low=0.0, high=1.0)


def endpoint_of(settings: JudgeConfig) -> Endpoint:
    """The judge of a config; ConfigError where it has no url."""
    if settings.url is None:
        raise ConfigError(
            "rewards.judge.url: expected the url of an OpenAI-compatible endpoint, such as http://host:8000/v1, "
            "for the judge reward; found None"
        )
    return Endpoint(
        url=settings.url,
        model=settings.model,
        key_variable=settings.key_variable,
        concurrency=settings.concurrency,
        timeout_seconds=settings.timeout_seconds,
        deadline_seconds=settings.tries * settings.timeout_seconds,
        tries=settings.tries,
    )


def _scorer(judged: Judge, shown: Callable[[str], str] = str) -> Callable[[Sequence[Item]], list[Score]]:
    """The reward's function. `shown`: what may be logged of some words, which may hold the key."""
    failures = 0

    def score(items: Sequence[Item]) -> list[Score]:
        nonlocal failures
        cases = [_case(item) for item in items]
        answered = [case for case in cases if case.answer]
        found = dict(zip(answered, judged(answered), strict=True)) if answered else {}
        for case, item in zip(cases, items, strict=True):
            failure = found.get(case)
            if isinstance(failure, Exception):
                failures += 1
                if failures <= LOGGED_FAILURES:
                    words = f"{failure}: {failure.reply!r}" if isinstance(failure, Unreadable) else str(failure)
                    log.warning("judge, record %r: %s", item.record.get("id"), shown(words))
        return [_score(case, found.get(case)) for case in cases]

    return score


def _case(item: Item) -> Case:
    """UserError for a record without a question, or with a reference that is no text."""
    question = require_field(item, "question", "judge")
    return Case(
        _text(item, "question", question),
        _text(item, "answer", require_field(item, "answer", "judge")),
        cut_middle(final_part(item.completion), MOST_CHARS),
    )


def _text(item: Item, field: str, value: object) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return "\n".join(f"- {one}" for one in value) if len(value) > 1 else value[0]
    if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
        raise UserError(
            f"record {item.record.get('id')!r}: the judge reward expects the field {field!r} to be a text, a number "
            f"or a list of texts, found {value!r}"
        )
    return str(value)


def _score(case: Case, found: Judgement | Exception | None) -> Score:
    if not case.answer:
        return Score(0.0, Status.NO_ANSWER)
    if isinstance(found, Judgement):
        verdict = Status.CORRECT if found.correct else Status.WRONG
        return Score(float(found.correct), verdict, case.answer)
    down = isinstance(found, NoReply)
    return Score(None, Status.INFRASTRUCTURE_ERROR if down else Status.VERIFIER_ERROR, case.answer)
