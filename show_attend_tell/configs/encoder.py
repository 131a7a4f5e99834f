"""The configuration of the image encoder."""

import dataclasses

from pipelines.errors import UserError
from pipelines.extraction_config import ExtractionConfig
from pipelines.options import option

AUGMENTATIONS = ("crop", "flip", "colour")


@dataclasses.dataclass(frozen=True)
class EncoderConfig(ExtractionConfig):
    """The encoder, and how it is fine-tuned, if it is."""

    finetune: str = option(
        "",
        "lowest layer of the encoder that is trained, or all; by default none",
    )
    learning_rate: float = option(
        1e-5,
        "peak learning rate of the encoder, on the captioner's schedule",
        flag="encoder_learning_rate",
    )
    frozen_epochs: int = option(
        1, "the encoder is trained only after so many epochs"
    )
    augmentation: str = option(
        "",
        "augmentation of the images of a fine-tuned encoder: some of "
        "crop,flip,colour",
    )

    def __post_init__(self):
        super().__post_init__()
        kinds = self.augmentations
        if len(set(kinds)) < len(kinds) or set(kinds) - set(AUGMENTATIONS):
            raise UserError(
                f"Expected --augmentation to be of {', '.join(AUGMENTATIONS)}"
                f", each once. Received: augmentation={self.augmentation!r}"
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The kinds of augmentation."""
        kinds = (kind.strip() for kind in self.augmentation.split(","))
        return tuple(kind for kind in kinds if kind)
