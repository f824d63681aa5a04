"""Random pairs of prompts, and what methods on pairs run with where nothing is stored."""

import torch

from ivmethods.method import Data, Running
from ivmethods.prompts.pairs import Pair
from tests.models import VOCAB

AMPLE = 2**28


class Unstored(Running, Data):
    """A model and pairs."""

    model, memory_budget = None, AMPLE

    def __init__(self, model, pairs):
        self.model, self._pairs, self.said = model, pairs, []

    def pairs(self):
        return self._pairs

    def progress(self, text):
        self.said.append(text)

    def ask(self, method):
        raise NotImplementedError


def random_pairs(lengths, seed=0):
    """Pairs of random tokens of these lengths."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(length):
        return tuple(torch.randint(3, VOCAB, (length,), generator=generator).tolist())

    def two_tokens():
        return torch.randperm(VOCAB, generator=generator)[:2].tolist()

    return [
        Pair(str(i), tokens(length), tokens(length), *two_tokens())
        for i, length in enumerate(lengths)
    ]
