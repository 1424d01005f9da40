"""What encoders with a tokenizer share: prompts, token ids, unit length, the files they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.store.digest import digest_value
from tilth.store.manifest import NAME, write_manifest
from tilth.store.write import write_bytes, write_json
from tilth.tokens.special import USUAL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The names that models use for the two sides of a search.
QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")
SETTINGS = "config_sentence_transformers.json"
MODULES = "modules.json"
# Texts that are tokenized at a time.
TEXTS = 4096


class TextEncoder:
    """Texts to vectors through a tokenizer. A subclass gives `vectors(ids)` and what it stores.

    `prompts` go before each text: `query` before queries, `document` (or `passage`, `corpus`)
    before documents. `longest`: tokens of one text that are read, prompt and special tokens
    included; what was cut is counted in `cut_tokens`. `lower`: texts are made lower case first.
    """

    name = ""
    version = 1
    dimensions: int

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        normalize: bool,
        prompts: Mapping[str, str] | None = None,
        longest: int | None = None,
        lower: bool = False,
        special: bool = True,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        from tokenizers import Tokenizer

        # A copy: truncation is a state of the tokenizer, and this one may be in use elsewhere.
        text = tokenizer.to_str()
        self.tokenizer = Tokenizer.from_str(text)
        self.tokenizer.encode_special_tokens = True
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        if longest is not None:
            self.tokenizer.enable_truncation(longest)
        self.normalize, self.longest, self.lower, self.special = normalize, longest, lower, special
        self.prompts = {key: value for key, value in (prompts or {}).items() if value}
        self.files = dict(files or _tokenizer_files(self.tokenizer, text))
        self.cut_tokens = 0
        self._frame = self.tokenizer.num_special_tokens_to_add(False) if special else 0

    def parameters(self) -> dict[str, Any]:
        names = "dimensions normalize prompts longest lower special".split()
        return {name: getattr(self, name) for name in names}

    def weights_digest(self) -> str:
        raise NotImplementedError

    def vectors(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Vectors, float32 (texts, dimensions), of token ids; each text has at least one."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """Names the space: weights, tokenizer and all that is done to a text."""
        if not hasattr(self, "_fingerprint"):
            state = json.loads(self.tokenizer.to_str())
            state.pop("truncation")
            parts = [self.name, self.version, self.parameters(), state, self.weights_digest()]
            self._fingerprint = digest_value(parts)
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of documents, float32 (texts, dimensions); zeros for a text without a token."""
        return self._encode(texts, DOCUMENT)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """As `encode`, with the prompt for queries."""
        return self._encode(texts, QUERY)

    def _encode(self, texts: Sequence[str], side: Sequence[str]) -> np.ndarray:
        prompt = next((self.prompts[name] for name in side if name in self.prompts), "")
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), TEXTS):
            part = texts[start : start + TEXTS]
            ids = self._ids([prompt + text if text.strip() else "" for text in part])
            places = [place for place, row in enumerate(ids) if len(row) > self._frame]
            if places:
                made = self.vectors([ids[place] for place in places])
                found[[start + place for place in places]] = made
        if self.normalize:
            lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
            found /= np.where(lengths > 0, lengths, 1).astype(np.float32)[:, None]
        return found

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        # Half of a surrogate pair is no text that a tokenizer takes.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        if self.lower:
            clean = [text.lower() for text in clean]
        found = self.tokenizer.encode_batch(clean, add_special_tokens=self.special)
        for encoding in found:
            for rest in encoding.overflowing:
                self.cut_tokens += len(rest.ids) - self._frame
        return [encoding.ids for encoding in found]

    def _save(self, folder: Path, modules: list[tuple[str, str]], files: list[str]) -> list[str]:
        """The files that `sentence-transformers` looks for, and the manifest; all names."""
        entries = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(modules)
        ]
        write_bytes(folder / MODULES, (json.dumps(entries, indent=1) + "\n").encode())
        similarity = "cosine" if self.normalize else "dot"
        settings = {"prompts": self.prompts, "similarity_fn_name": similarity}
        write_json(folder / SETTINGS, settings)
        names = [*files, MODULES, SETTINGS]
        write_manifest(folder, names, kind="encoder", fingerprint=self.fingerprint)
        return [*names, NAME]


def _tokenizer_files(tokenizer: Tokenizer, text: str) -> dict[str, bytes]:
    """Of a tokenizer that came without files. Where none says its class, `transformers` takes the
    one that the model's kind usually has, and reads the tokens by other rules."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }  # fmt: skip
    known = (token for token in USUAL["pad"] if tokenizer.token_to_id(token) is not None)
    # Texts of a batch are filled up with it, and what is filled up is not looked at.
    settings["pad_token"] = next(known, tokenizer.id_to_token(0))
    stated = json.dumps(settings, indent=1) + "\n"
    return {"tokenizer.json": text.encode(), "tokenizer_config.json": stated.encode()}
