"""The models of the paper: what its tables call them, and under which names they are loaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper's tables.

    `name` is how the suite shows it; `head_name` is its name in the tables of head activity, which
    have the smaller models only.
    """

    hub_id: str
    family: str
    size: str
    stage: str
    layers: int
    head_name: str | None = None

    @property
    def name(self) -> str:
        """The name in reports and test ids: no checkpoint is called so."""
        return f"{self.family}-{self.stage}-published"


MODELS = (
    PaperModel("allenai/OLMo-2-0425-1B", "olmo2-1b", "1b", "base", 16, "olmo-1b"),
    PaperModel("allenai/OLMo-2-0425-1B-SFT", "olmo2-1b", "1b", "sft", 16, "olmo-1b-sft"),
    PaperModel("allenai/OLMo-2-0425-1B-DPO", "olmo2-1b", "1b", "dpo", 16, "olmo-1b-dpo"),
    PaperModel("allenai/OLMo-2-1124-7B", "olmo2-7b", "7b", "base", 32),
    PaperModel("allenai/OLMo-2-1124-7B-SFT", "olmo2-7b", "7b", "sft", 32),
    PaperModel("allenai/OLMo-2-1124-7B-DPO", "olmo2-7b", "7b", "dpo", 32),
)


def paper_model(checkpoint: str) -> PaperModel | None:
    """Return the paper's model that a checkpoint's name, a hub id, stands for; None for others.

    A local folder is never taken for one of them: its name says nothing about its weights.
    """
    return next((model for model in MODELS if model.hub_id == checkpoint), None)
