"""Models of tokens, and the same models of one-hot sequences: what the tests of tokens share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

IDS = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}
CLS, SEP, PAD = 0, 1, 4
N_TOKENS = 12
WIDTH = 6


class OneHotCnn(nn.Module):
    """Convolutions over vectors of bases, shape=(n, WIDTH, length), and a head of two outputs."""

    def __init__(self, p: float = 0.4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(WIDTH, 8, 5, padding=2), nn.ReLU(), nn.Dropout(p), nn.Conv1d(8, 8, 3),
            nn.GELU(), nn.Dropout(p), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class TokenCnn(nn.Module):
    """The same over the embedding of tokens, shape=(n, tokens)."""

    def __init__(self, p: float = 0.4) -> None:
        super().__init__()
        self.embed = nn.Embedding(N_TOKENS, WIDTH)
        self.cnn = OneHotCnn(p)

    def forward(self, input_ids: Tensor) -> Tensor:
        assert input_ids.dtype == torch.int64
        return self.cnn(self.embed(input_ids).transpose(1, 2))


class TableCnn(nn.Module):
    """The same with one-hot input of all tokens, shape=(n, tokens, N_TOKENS); the table is weights."""

    def __init__(self, tokens: TokenCnn) -> None:
        super().__init__()
        self.embed = nn.Linear(N_TOKENS, WIDTH, bias=False)
        self.embed.weight.data = tokens.embed.weight.data.t().clone()
        self.cnn = tokens.cnn

    def forward(self, x: Tensor) -> Tensor:
        return self.cnn(self.embed(x).transpose(1, 2))


@dataclass
class Output:
    """As HuggingFace's models give it."""

    logits: Tensor
    loss: Tensor | None = None


class LanguageModel(nn.Module):
    """A small transformer that is called as HuggingFace's are: by keywords, with a mask."""

    def __init__(self, p: float = 0.3, length: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(N_TOKENS, 8, padding_idx=PAD)
        self.kinds = nn.Embedding(2, 8)
        self.places = nn.Embedding(length, 8)
        self.norm, self.drop = nn.LayerNorm(8), nn.Dropout(p)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.p = p

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Output:
        assert input_ids.dtype == torch.int64
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        n, length = input_ids.shape
        h = self.words(input_ids) + self.kinds(token_type_ids) + self.places(torch.arange(length))
        h = self.drop(self.norm(h))
        q, k, v = self.qkv(h).reshape(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
        far = (1.0 - attention_mask.to(h.dtype))[:, None, None] * torch.finfo(h.dtype).min
        a = F.dropout(torch.softmax(q @ k.transpose(-1, -2) / 2 + far, -1), self.p, self.training)
        h = h + self.out((a @ v).transpose(1, 2).reshape(n, length, 8))
        return Output(self.head(h[:, 0]))


def built(kind: Any, seed: int = 0, **options: Any) -> Any:
    """A network with weights that are the same in every run, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**options).double().eval()


def tokens(text: str, before: tuple[int, ...] = (CLS,), after: tuple[int, ...] = (SEP,)) -> np.ndarray:
    """Tokens of a sequence, int64, shape=(tokens,), written apart from the package."""
    return np.array([*before, *(IDS[base] for base in text), *after], np.int64)


def random_text(n: int, seed: int = 0) -> str:
    """A random sequence."""
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), n))
