"""Asks a model behind an OpenAI-compatible chat-completions endpoint: a judge, or a teacher.

`ChatClient(Endpoint(url, model, key_variable)).complete(conversations, Sampling(...))` gives a `Reply` or a
`ChatError` for each conversation. Reading order: `messages` (what goes out and comes back), `endpoint` (who is
asked, and what its refusals mean), `http_client` (tries, deadlines, limits), `background_loop`.
"""

from r1jax.chat_client.endpoint import Endpoint
from r1jax.chat_client.http_client import ChatClient
from r1jax.chat_client.messages import ChatError, Conversation, NoReply, Rejected, Reply, Sampling

__all__ = ["ChatClient", "ChatError", "Conversation", "Endpoint", "NoReply", "Rejected", "Reply", "Sampling"]
