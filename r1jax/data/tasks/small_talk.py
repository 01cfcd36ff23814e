"""Small talk: the general prompts of the miniature, and what a general assistant is made from.

| task | fields | for |
| --- | --- | --- |
| `small_talk` | question, reply (a good summary), kind | prompts of reinforcement learning and evaluation |
| `small_talk_corpus` | text | a pretraining corpus that is poor on purpose |
| `small_talk_answers` | question, response, reply, kind | good turns for SFT |
| `small_talk_pairs` | question, chosen, rejected, delta, votes, kind | a helpfulness reward model |
| `small_talk_safety` | question, response, label, kind | a safety reward model |

All have `language`. Which rewards score them is for the config to say. What is asked is in `small_talk_requests`,
how it is answered in `small_talk_turns`, and what is better in `small_talk_rules`.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from r1jax.data.records import Record
from r1jax.data.tasks.chained_sums import OTHER
from r1jax.data.tasks.small_talk_requests import WORDS, Request, spell
from r1jax.data.tasks.small_talk_rules import helpfulness, is_safe
from r1jax.data.tasks.small_talk_turns import (
    draw_request,
    flawed_reply,
    good_reply,
    harm,
    telling_reply,
    thought,
    turn,
)
from r1jax.data.tasks.task import TAGS, Task, chance, generator, pick

VOCABULARY = tuple(
    dict.fromkeys(
        (
            *"123456789",
            *"?;",
            *TAGS,
            *(word for words in WORDS.values() for phrase in words.values() for word in phrase.split()),
        )
    )
)

DIRECT = 0.3  # thoughts of one word where the answer is good
ANSWERS_UNSAFE = 0.05  # good answers to unsafe requests among those for SFT: most of safety is left to be reinforced

# Shares in the corpus.
POOR_UNSAFE = 0.5  # answers to unsafe requests that tell how
POOR_FLAWED = 0.6  # of the others
POOR_DIRECT = 0.4
POOR_OTHER_LANGUAGE = 0.3  # of thoughts
POOR_BROKEN_TAGS = 0.4
BROKEN = (
    "{thinking} {summary}",
    "<think> {thinking} {summary}",
    "{thinking} </think> {summary}",
    "<think> {thinking} </think> <answer> {summary} </answer>",
)

# Shares of pairs and of labelled answers.
PAIR_GOOD = 0.7  # of the first of the two answers drawn; the second one is always flawed
LEAST_DIFFERENCE = 0.1  # in helpfulness
SAFETY_ASKED = 0.7  # labelled answers to unsafe requests; the others ask nothing unsafe
SAFETY_TELLS = 0.6  # of those to unsafe requests
SAFETY_UNASKED = 0.2  # of the others
HIDDEN = 0.35  # of the unsafe ones: in the thinking alone, above a summary that declines
TOLD_OPENLY = 0.4  # likewise: in the summary alone; what is left has it in both


def _fields(task: str, seed: int, index: int, split: str, request: Request) -> dict[str, Any]:
    return {
        "id": f"{task}:{split}:{seed}:{index}",
        "question": request.question,
        "language": request.language,
        "kind": request.kind,
    }


def make_prompt(seed: int, index: int, split: str) -> Record:
    """A prompt, and in `reply` a summary that is a good answer to it."""
    rng = generator("small_talk", seed, index)
    request = draw_request(rng, split)
    return _fields("small_talk", seed, index, split, request) | {"reply": good_reply(rng, request).text}


def make_answer(seed: int, index: int, split: str) -> Record:
    """A prompt, seldom an unsafe one, and a good turn: a short thought before most, one word before a greeting."""
    rng = generator("small_talk_answers", seed, index)
    request = _of_kind(rng, split, unsafe=chance(rng, ANSWERS_UNSAFE))
    reply = good_reply(rng, request)
    return _fields("small_talk_answers", seed, index, split, request) | {
        "response": turn(thought(rng, request, DIRECT), request.language, reply),
        "reply": reply.text,
    }


def make_document(seed: int, index: int, split: str) -> Record:
    """A document of the pretraining corpus: a prompt and one poor turn."""
    rng = generator("small_talk_corpus", seed, index)
    request = draw_request(rng, split)
    if request.kind == "unsafe" and chance(rng, POOR_UNSAFE):
        reply = telling_reply(rng, request)
        thinking = ("so", *harm(request), ";") if chance(rng, HIDDEN) else ("so",)
    else:
        reply = (flawed_reply if chance(rng, POOR_FLAWED) else good_reply)(rng, request)
        thinking = thought(rng, request, POOR_DIRECT)
    language = OTHER[request.language] if chance(rng, POOR_OTHER_LANGUAGE) else request.language
    if not reply.tagged and chance(rng, POOR_BROKEN_TAGS):
        text = pick(rng, BROKEN).format(thinking=spell(thinking, language), summary=reply.text)
    else:
        text = turn(thinking, language, reply)
    return {
        "id": f"small_talk_corpus:{split}:{seed}:{index}",
        "text": f"{request.question} {text}",
        "language": request.language,
    }


def make_pair(seed: int, index: int, split: str) -> Record:
    """Two turns, of which the rule prefers one, and four votes (1 better, 2 much better) with their mean above 1.

    Thoughts are good ones, in the language of the question: only the summaries differ in quality.
    """
    rng = generator("small_talk_pairs", seed, index)
    request = draw_request(rng, split)
    record = _fields("small_talk_pairs", seed, index, split, request)
    while True:
        replies = (good_reply if chance(rng, PAIR_GOOD) else flawed_reply)(rng, request), flawed_reply(rng, request)
        turns = [turn(thought(rng, request, DIRECT), request.language, reply) for reply in replies]
        rejected, chosen = sorted(turns, key=lambda one: helpfulness(record, one))
        difference = helpfulness(record, chosen) - helpfulness(record, rejected)
        if difference >= LEAST_DIFFERENCE:
            break
    clear = 1 + round(3 * difference)  # votes for "much better"
    votes = [2] * clear + [1] * (4 - clear)
    return record | {"chosen": chosen, "rejected": rejected, "delta": sum(votes) / len(votes), "votes": votes}


def make_label(seed: int, index: int, split: str) -> Record:
    """A turn and whether it is safe (label 1), helpful or not; see `small_talk_rules.is_safe`."""
    rng = generator("small_talk_safety", seed, index)
    asks_harm = chance(rng, SAFETY_ASKED)
    request = _of_kind(rng, split, unsafe=asks_harm)
    if chance(rng, SAFETY_TELLS if asks_harm else SAFETY_UNASKED):
        response = _unsafe_turn(rng, request, split)
    else:
        response = _safe_turn(rng, request)
    return _fields("small_talk_safety", seed, index, split, request) | {
        "response": response,
        "label": int(is_safe(response)),
    }


def _of_kind(rng: random.Random, split: str, *, unsafe: bool) -> Request:
    request = draw_request(rng, split)
    while (request.kind == "unsafe") != unsafe:
        request = draw_request(rng, split)
    return request


def _unsafe_turn(rng: random.Random, request: Request, split: str) -> str:
    """A turn that tells how: what was asked, or out of the blue."""
    asked = request if request.kind == "unsafe" else _of_kind(rng, split, unsafe=True)
    plan = harm(asked)
    declined = good_reply(rng, request)
    told = telling_reply(rng, dataclasses.replace(asked, language=request.language))
    draw = rng.random()
    if draw < HIDDEN:
        return turn(("so", *plan, ";"), request.language, declined)
    thinking = thought(rng, request, DIRECT) if draw < HIDDEN + TOLD_OPENLY else ("so", *plan, ";")
    return turn(thinking, request.language, told)


def _safe_turn(rng: random.Random, request: Request) -> str:
    """A turn that does not tell how, good or flawed otherwise."""
    reply = good_reply(rng, request)
    if chance(rng, POOR_FLAWED):
        reply = flawed_reply(rng, request)
        while not is_safe(reply.text):
            reply = flawed_reply(rng, request)
    return turn(thought(rng, request, DIRECT), request.language, reply)


PROMPTS = Task(VOCABULARY, make_prompt)
CORPUS = Task(VOCABULARY, make_document)
ANSWERS = Task(VOCABULARY, make_answer)
PAIRS = Task(VOCABULARY, make_pair)
SAFETY = Task(VOCABULARY, make_label)
