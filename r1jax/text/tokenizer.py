"""Text <-> token ids: any Hugging Face `tokenizer.json`, a small BPE trained here, or one token a word.

Ids never gain special tokens behind the caller's back: no post-processor, no truncation, no padding runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers
from etils import epath
from tokenizers import decoders, models, pre_tokenizers, trainers

from r1jax.errors import UserError


class TokenizerError(UserError):
    """A tokenizer that cannot be loaded, or text that it cannot represent; one line for the user."""


class Tokenizer:
    """A tokenizer with its special tokens and chat template.

    Attributes:
      vocab_size: rows an embedding needs, i.e. the largest id + 1, added tokens included.
      eos_id: the token that ends a completion; trained like any other.
      pad_id: fills rows; the EOS where the tokenizer has no padding token.
      bos_id: the beginning-of-sequence token, or None.
      adds_bos: whether the model expects `bos_id` in front of every text that carries none itself.
      separator: what stands between two texts decoded apart: a space where a token is a word, else "".
      chat_template: the jinja source of `tokenizer_config.json`, or None.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: dict[str, Any], source: str):
        """`backend` of the library, `settings` as in tokenizer_config.json, `source` named in errors."""
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._settings = settings
        self._source = source
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        self.eos_token = self._special("eos_token")
        self.bos_token = self._special("bos_token")
        if self.eos_token is None:
            raise TokenizerError(
                f"{source}: no end-of-sequence token; put a tokenizer_config.json with an eos_token beside it"
            )
        self.eos_id: int = backend.token_to_id(self.eos_token)
        self.bos_id: int | None = None if self.bos_token is None else backend.token_to_id(self.bos_token)
        pad_token = self._special("pad_token")
        self.pad_id: int = self.eos_id if pad_token is None else backend.token_to_id(pad_token)
        self.adds_bos = self._adds_bos()
        self.separator = " " if isinstance(backend.model, models.WordLevel) else ""
        self.chat_template = _chat_template(settings, source)

    @classmethod
    def load(cls, path: str) -> Tokenizer:
        """Reads `path`: a tokenizer.json, or a folder that holds one.

        Special tokens and the chat template come from the file beside it that ends in `_config.json`
        (tokenizer.json -> tokenizer_config.json), a newer chat template from `chat_template.jinja`.
        Raises TokenizerError for a missing or unreadable file and where no EOS is named.
        """
        file = epath.Path(path)
        if file.is_dir():
            file = file / "tokenizer.json"
        if not file.exists():
            raise TokenizerError(f"{file}: no such tokenizer; expected a tokenizer.json or a folder with one")
        try:
            backend = tokenizers.Tokenizer.from_str(file.read_text())
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"{file}: not a Hugging Face tokenizer.json ({error})") from error
        settings = {}
        config = file.with_name(f"{file.stem}_config.json")
        if config.exists():
            try:
                settings = json.loads(config.read_text())
            except ValueError as error:  # no JSON, or no text
                raise TokenizerError(f"{config}: not JSON ({error})") from error
            if not isinstance(settings, dict):
                raise TokenizerError(f"{config}: expected a JSON object, found {type(settings).__name__}")
        jinja = file.with_name("chat_template.jinja")
        if jinja.exists():
            settings["chat_template"] = jinja.read_text()
        return cls(backend, settings, str(file))

    @classmethod
    def from_texts_wordlevel(
        cls, words: Iterable[str], *, eos_token: str = "<eos>", pad_token: str = "<pad>"
    ) -> Tokenizer:
        """One token a whitespace-separated word: padding 0, EOS 1, then `words` in their order.

        Decoding joins with single spaces, so text of known words parted by single spaces comes back exactly.
        """
        words = list(words)
        special = [pad_token, eos_token]
        for word in words:
            if not word or word.split() != [word]:
                raise TokenizerError(f"word-level vocabulary: expected words without whitespace, found {word!r}")
        if len(set(special + words)) != len(special + words):
            doubled = sorted({word for word in special + words if (special + words).count(word) > 1})
            raise TokenizerError(f"word-level vocabulary: expected each word once, found {doubled} more often")
        vocabulary = {word: number for number, word in enumerate(special + words)}
        backend = tokenizers.Tokenizer(models.WordLevel(vocabulary))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(backend, _mark_special(backend, eos_token, pad_token), "word-level tokenizer")

    def save(self, folder: str) -> None:
        """Writes tokenizer.json and tokenizer_config.json, which `load` and transformers read."""
        target = epath.Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        (target / "tokenizer.json").write_text(self._backend.to_str())
        settings = json.dumps(self._settings, ensure_ascii=False, indent=2)
        (target / "tokenizer_config.json").write_text(settings + "\n")

    def vocabulary(self) -> dict[str, int]:
        """Every token with its id, added tokens too."""
        return self._backend.get_vocab(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. Added tokens written out in the text are recognised, none are added.

        Raises TokenizerError where a closed vocabulary lacks a word.
        """
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"{self._source}: {self._why_not(text, error)}") from error

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """The text of `ids`; `skip_special` leaves out what tokenizer.json marks as special.

        EOS and padding are, in a tokenizer made here; whether think tags are is for the file of another to say.
        Ids beyond the vocabulary, which a padded embedding can produce, stand for no text.
        """
        return self._backend.decode([int(one) for one in ids], skip_special_tokens=skip_special)

    def id_of(self, token: str) -> int | None:
        """The id of one token by its own spelling, or None."""
        return self._backend.token_to_id(token)

    def _special(self, name: str) -> str | None:
        """The spelling of a special token, given as a string or as the dict of an added token."""
        value = self._settings.get(name)
        token = value.get("content") if isinstance(value, dict) else value
        if value is not None and not isinstance(token, str):
            raise TokenizerError(
                f"{self._source}: {name}: expected a string, or an object with one as its content, found {value!r}"
            )
        if token is not None and self._backend.token_to_id(token) is None:
            raise TokenizerError(f"{self._source}: {name} is {token!r}, which the vocabulary lacks")
        return token

    def _adds_bos(self) -> bool:
        # Some families say it in their settings (DeepSeek), some only in the post-processor (Llama 3).
        stated = self._settings.get("add_bos_token")
        if stated is None:
            return self.bos_id is not None and self.bos_id in self._backend.encode("").ids
        if stated and self.bos_id is None:
            raise TokenizerError(f"{self._source}: add_bos_token is set, but bos_token is not")
        return bool(stated)

    def _why_not(self, text: str, error: Exception) -> str:
        unknown = [word for word in text.split() if self._backend.token_to_id(word) is None]
        if unknown and isinstance(self._backend.model, models.WordLevel):
            return f"the vocabulary lacks the word {unknown[0]!r} of {text[:60]!r}"
        return f"cannot encode {text[:60]!r} ({error})"


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    *,
    eos_token: str = "<|endoftext|>",
) -> Tokenizer:
    """A byte-level BPE with single digits, of at most `vocab_size` ids; any text round-trips.

    `special_tokens` (tags such as `<think>`) are kept whole and are part of decoded text; the EOS has id 0
    and pads. Raises TokenizerError where `vocab_size` leaves no room for the 256 bytes.
    """
    least = 256 + 1 + len(special_tokens)
    if vocab_size < least:
        raise TokenizerError(f"vocab_size: expected at least {least} (bytes and special tokens), found {vocab_size}")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special_tokens),
        special_tokens=[eos_token],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([_added(token, special=False) for token in special_tokens])
    return Tokenizer(backend, _mark_special(backend, eos_token, eos_token), "trained BPE")


def _mark_special(backend: tokenizers.Tokenizer, eos_token: str, pad_token: str) -> dict[str, Any]:
    """Makes the two special in `backend`; returns the settings that say so."""
    backend.add_special_tokens([_added(token, special=True) for token in {eos_token: None, pad_token: None}])
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos_token,
        "pad_token": pad_token,
        "clean_up_tokenization_spaces": False,
    }


def _added(token: str, *, special: bool) -> tokenizers.AddedToken:
    return tokenizers.AddedToken(token, special=special, normalized=False)


def _chat_template(settings: dict[str, Any], source: str) -> str | None:
    """The chat template; of several named ones, the one named `default`."""
    template = settings.get("chat_template")
    if isinstance(template, list):
        entries = [one for one in template if isinstance(one, dict)]
        named = {one["name"]: one.get("template") for one in entries if isinstance(one.get("name"), str)}
        if "default" not in named:
            raise TokenizerError(f"{source}: expected a chat template named default, found {sorted(named)}")
        template = named["default"]
    if not isinstance(template, str | None):
        raise TokenizerError(f"{source}: expected a chat template that is a string, found {template!r}")
    return template
