"""What each token adds to a text, in bytes, read from a tokenizer of transformers."""

from functools import lru_cache
from pathlib import Path
from typing import Any


def read_tokenizer(folder: Path, size: int) -> tuple[tuple[bytes, ...], frozenset[int]]:
    """Pieces, as ``token_pieces``, and the ids that end a reply, of the model in a folder.

    Raises OSError where there is none, ValueError as ``token_pieces``.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return token_pieces(tokenizer, size), end_ids(folder, tokenizer)


def end_ids(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Token ids that end a reply: of the tokenizer and of the generation config."""
    from transformers import GenerationConfig

    try:
        known = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    except OSError:
        known = None
    ids = known if isinstance(known, list) else [known]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


def token_pieces(tokenizer: Any, size: int) -> tuple[bytes, ...]:
    """The bytes of every id below ``size``; b"" for control tokens and ids without a token.

    Byte-level BPE, byte fallback (``<0x0A>``) and Metaspace (``▁``) vocabularies are read exactly;
    raises ValueError for a vocabulary of another kind (WordPiece), whose tokens are not bytes.
    """
    control = set(tokenizer.all_special_ids)
    control |= {int(i) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    known = min(size, len(tokenizer))
    names: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(known)))
    read = _reader(tokenizer)
    added = {int(i) for i in tokenizer.added_tokens_decoder}
    pieces = [
        b"" if name is None or token in control else name.encode() if token in added else read(name)
        for token, name in enumerate(names)
    ]
    return (*pieces, *[b""] * (size - known))


def _reader(tokenizer: Any) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kinds = f"{getattr(backend, 'decoder', None)!r}"
    if "ByteLevel" in kinds:
        return _byte_level
    if "ByteFallback" in kinds or "Metaspace" in kinds or "▁" in kinds:
        return _metaspace
    raise ValueError("this tokenizer's tokens are neither byte-level nor Metaspace pieces")


def _byte_level(name: str) -> bytes:
    table = _bytes_of_letters()
    return bytes(table[letter] for letter in name)


def _metaspace(name: str) -> bytes:
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        return bytes([int(name[3:5], 16)])
    return name.replace("▁", " ").encode()


@lru_cache(maxsize=1)
def _bytes_of_letters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 for itself, everything else moved up from U+0100."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + index): byte for index, byte in enumerate(moved)
    }
