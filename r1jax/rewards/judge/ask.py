"""Who judges: an endpoint, or a model of ours; and asking until the reply can be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from r1jax.chat_client import ChatClient, ChatError, Conversation, Reply, Sampling
from r1jax.chat_client.messages import one_line
from r1jax.rewards.verdicts import RewardError

# A reply to each conversation, or why there is none. Errors that are the user's are raised.
Ask = Callable[[Sequence[Conversation]], Sequence[str | ChatError]]
Generate = Callable[[Sequence[Conversation]], Sequence[str]]

ASKED = 3  # times, for a reply that can be read
MOST_SHOWN_CHARS = 100  # of one that cannot

Read = TypeVar("Read")
log = logging.getLogger("r1jax.rewards")


class Unreadable(Exception):
    """The judge has spoken, but not as it was asked to. `reply`: the beginning of what it said last, in one line."""

    def __init__(self, reply: str):
        super().__init__(f"no verdict in {ASKED} replies")
        self.reply = one_line(reply, MOST_SHOWN_CHARS)


def of_endpoint(client: ChatClient, sampling: Sampling) -> Ask:
    """Asks over HTTP, as many at once as the client allows. A reply that was cut at its limit counts as none."""

    def ask(conversations: Sequence[Conversation]) -> list[str | ChatError]:
        replies = client.complete(conversations, sampling)
        return [("" if one.cut else one.text) if isinstance(one, Reply) else one for one in replies]

    return ask


def of_model(generate: Generate) -> Ask:
    """Asks a model of ours, all conversations in one call; RewardError where it does not give a text for each."""

    def ask(conversations: Sequence[Conversation]) -> list[str]:
        replies = list(generate(conversations))
        if len(replies) != len(conversations) or not all(isinstance(reply, str) for reply in replies):
            kinds = ", ".join(sorted({type(reply).__name__ for reply in replies}))
            raise RewardError(
                f"judge: expected generate to give {len(conversations)} texts, found {len(replies)} of {kinds}"
            )
        return replies

    return ask


def ask_until_read(
    ask: Ask,
    prompts: Sequence[Callable[[int], Conversation]],
    read: Callable[[str], Read | None],
) -> list[Read | ChatError | Unreadable]:
    """What `read` makes of the reply to each prompt.

    A prompt is a function of the attempt (from 1): where `read` gives None it is asked again, ASKED times in all,
    in words that tell the judge so (a model that always takes the likeliest token would repeat itself).
    """
    found: list[Read | ChatError | Unreadable | None] = [None] * len(prompts)
    left = list(range(len(prompts)))
    for attempt in range(1, ASKED + 1):
        if not left:
            break
        replies = ask([prompts[index](attempt) for index in left])
        for index, reply in zip(left, replies, strict=True):
            found[index] = reply if isinstance(reply, ChatError) else read(reply)
            if found[index] is None and attempt == ASKED:
                found[index] = Unreadable(reply)
        left = [index for index in left if found[index] is None]
    return found
