"""The vocabulary in the files of a tokenizer, as HuggingFace's libraries write them; neither is needed.

Read are tokenizer.json, vocab.json (letters and their tokens) and vocab.txt (one token a line, counted
from 0). tokenizer_config.json and special_tokens_map.json beside them name the special tokens.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.vocabulary import AMBIGUITY_LETTERS, Vocabulary, check_single_bases

FILES = ("tokenizer.json", "vocab.json", "vocab.txt")
_AMINO_ACIDS = "EFILPQ"  # letters that no nucleotide has
# What a tokenizer class puts before and after a sequence, where no tokenizer.json says it.
_ENDS = {"bert": ("cls_token", "sep_token"), "esm": ("cls_token", "eos_token")}
_NAMES = {
    "bert": {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"},
    "esm": {"cls_token": "<cls>", "eos_token": "<eos>", "unk_token": "<unk>"},
}
_CLASSES = {"BertTokenizer": "bert", "BertTokenizerFast": "bert", "EsmTokenizer": "esm"}


def read_tokenizer(path: Path) -> Vocabulary:
    """The vocabulary of a tokenizer of single bases.

    N has the token of N, else that of unknown tokens ([UNK]).

    Parameters
    ----------
    path : Path
        A folder with one of `FILES`, or one of these files.

    Raises
    ------
    InputError
        If there is none, it cannot be read, or its tokens are no single bases.
    """
    file = _file(Path(path))
    try:
        tokens, kind, whole = _tokens(file)
        check_single_bases(tokens, kind)
        _check_nucleotides(tokens)
        known = _letters(tokens)
        settings = _settings(file.parent)
        unknown = _unknown(whole, settings, tokens)
        if "N" not in known and unknown is not None:
            known["N"] = unknown
        ends = _template(whole, tokens) if file.name == "tokenizer.json" else _of_class(settings, tokens)
        return Vocabulary.of(known, *ends)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} must be a file of a tokenizer as HuggingFace's libraries write it; it has another "
            f"form ({type(error).__name__}: {error}). Give the tokens as A=7,C=8,G=9,T=10,N=11"
        ) from error


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    what = "has none of them" if path.is_dir() else "is not there"
    raise InputError(
        f"vocabulary must be the path of a tokenizer: a folder with {', '.join(FILES)}, or one of these "
        f"files; {path} {what}. Or give the token of each base, such as A=7,C=8,G=9,T=10,N=11"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} must be a JSON file of a tokenizer; it cannot be read: {error}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a JSON file of a tokenizer, an object; got {content!r:.40}")
    return content


def _tokens(file: Path) -> tuple[dict[str, int], str, dict[str, Any]]:
    """All tokens by name, the kind of the tokenizer, and its file as a whole."""
    if file.suffix != ".json":
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(f"{file} must be a list of tokens; it cannot be read: {error}") from error
        return {line.strip(): i for i, line in enumerate(lines) if line.strip()}, "", {}
    content = _json(file)
    if "model" not in content:
        return _whole_numbers(file, content), "", {}
    model = content["model"] if isinstance(content["model"], dict) else {}
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, list):  # of a Unigram model: names with their scores
        vocabulary = {str(entry[0]): i for i, entry in enumerate(vocabulary)}
    tokens = _whole_numbers(file, vocabulary)
    for added in content.get("added_tokens") or []:
        tokens[str(added["content"])] = int(added["id"])
    return tokens, str(model.get("type", "")), content


def _whole_numbers(file: Path, vocabulary: Any) -> dict[str, int]:
    if not isinstance(vocabulary, dict) or not all(type(x) is int for x in vocabulary.values()):
        raise InputError(f"{file} must give a whole number for each token")
    return {str(name): token for name, token in vocabulary.items()}


def _check_nucleotides(tokens: dict[str, int]) -> None:
    if sum(letter in tokens for letter in _AMINO_ACIDS) >= 3:
        raise InputError("the tokens must be those of bases; there are amino acids among them")
    if pieces := [name for name in tokens if re.fullmatch("(##|▁|Ġ)[ACGTUN]", name.upper())]:
        raise InputError(
            f"a base must have one token; there are tokens such as {pieces[0]!r} beside single letters, "
            "so the token of a base depends on its place. Give the tokens that the model was trained "
            "with, such as A=7,C=8,G=9,T=10,N=11"
        )


def _letters(tokens: dict[str, int]) -> dict[str, int]:
    """Tokens of the letters of sequences; of lower-case ones where there are no others."""
    found = {}
    for letter in f"ACGTU{AMBIGUITY_LETTERS}":
        for name in (letter, letter.lower()):
            if name in tokens and letter not in found:
                found[letter] = tokens[name]
    return found


def _settings(folder: Path) -> dict[str, Any]:
    """Class and special tokens, as far as files in the folder say them."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings.update(_json(folder / name))
    return settings


def _special(settings: dict[str, Any], name: str) -> str | None:
    value = settings.get(name) or _NAMES.get(_family(settings), {}).get(name)
    return value.get("content") if isinstance(value, dict) else value


def _family(settings: dict[str, Any]) -> str:
    return _CLASSES.get(str(settings.get("tokenizer_class", "")), "")


def _unknown(whole: dict[str, Any], settings: dict[str, Any], tokens: dict[str, int]) -> int | None:
    name = whole.get("model", {}).get("unk_token") or _special(settings, "unk_token")
    return tokens.get(str(name))


_Ends = tuple[list[int] | None, list[int] | None]


def _of_class(settings: dict[str, Any], tokens: dict[str, int]) -> _Ends:
    """By the class of the tokenizer, where it is one that is known here."""
    if _family(settings) not in _ENDS:
        return None, None
    names = [_special(settings, name) for name in _ENDS[_family(settings)]]
    if any(name not in tokens for name in names):
        return None, None
    return [tokens[str(names[0])]], [tokens[str(names[1])]]


def _template(whole: dict[str, Any], tokens: dict[str, int]) -> _Ends:
    """By the step of tokenizer.json that adds the special tokens."""
    before: list[int] = []
    after: list[int] = []
    processor = whole.get("post_processor") or {}
    steps = processor.get("processors") if processor.get("type") == "Sequence" else [processor]
    for step in steps or []:
        kind = step.get("type")
        if kind in ("BertProcessing", "RobertaProcessing"):
            before, after = [int(step["cls"][1]), *before], [*after, int(step["sep"][1])]
        elif kind == "TemplateProcessing":
            first, last = _around(step, tokens)
            before, after = [*first, *before], [*after, *last]
        elif kind not in (None, "ByteLevel"):
            return None, None
    return before, after


def _around(step: dict[str, Any], tokens: dict[str, int]) -> tuple[list[int], list[int]]:
    """Tokens before and after the sequence in a template of one sequence."""
    sides: tuple[list[int], list[int]] = ([], [])
    seen = False
    for piece in step["single"]:
        if "Sequence" in piece:
            seen = True
            continue
        name = piece["SpecialToken"]["id"]
        ids = step.get("special_tokens", {}).get(name, {}).get("ids") or [tokens[name]]
        sides[seen].extend(map(int, ids))
    return sides
