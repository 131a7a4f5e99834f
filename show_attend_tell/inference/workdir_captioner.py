"""Captions photos with the encoder and the captioner of a training run."""

import functools
import os
from collections.abc import Sequence

import numpy as np

from pipelines.cache.metadata import Metadata
from pipelines.encoders.encoder import Encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.images.decoding import Photo, fit_image, load_image
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    load_ensemble,
    load_metadata,
)
from show_attend_tell.inference.reranking import ConsensusReranker


class WorkdirCaptioner(PhotoCaptioner):
    """Captions photos by an encoder and a captioner that belong together.

    Args:
        encoder: From images to annotations.
        caption_generator: From annotations to captions.
        decoding: The settings that hold where a call gives no others.
    """

    def __init__(
        self,
        encoder: Encoder,
        caption_generator: CaptionGenerator,
        decoding: Decoding,
    ):
        self.encoder = encoder
        self.caption_generator = caption_generator
        self.decoding = decoding

    @classmethod
    def load(
        cls,
        workdir: str,
        encoder_weights: str | None = None,
        ensemble: Sequence[str] = (),
    ) -> "WorkdirCaptioner":
        """Loads what `train` left in a folder.

        Args:
            workdir: The folder.
            encoder_weights: A file, where that of the training has moved.
            ensemble: Folders or files of models that join in, see
                `load_ensemble`.

        Raises:
            UserError: A file is missing, or does not belong to the others.
        """
        config = RunConfig.load(workdir)
        captioner, vocabulary = load_ensemble(workdir, ensemble)
        trained_on = load_metadata(workdir)
        encoder = encoder_of(
            trained_on, encoder_weights or config.encoder.weights, workdir
        )
        caption_generator = CaptionGenerator(
            captioner,
            vocabulary,
            trained_on.grid,
            trained_on.resize_mode,
            functools.partial(ConsensusReranker.load, workdir, trained_on),
        )
        return cls(encoder, caption_generator, config.decoding)

    def decoding_of(self, **changes) -> Decoding:
        """See `PhotoCaptioner`."""
        decoding = self.decoding.replace(**changes)
        # What is missing in the run concerns no photo.
        self.caption_generator.prepare(decoding)
        return decoding

    def prepare(self, photo: Photo) -> np.ndarray:
        """Returns the square that the encoder sees, uint8 `(S, S, 3)`."""
        resize_mode = self.caption_generator.resize_mode
        return fit_image(
            load_image(photo), self.encoder.image_size, resize_mode
        )

    def generate(self, photos, first, batch_size, decoding) -> list[Caption]:
        """See `PhotoCaptioner`."""
        # One shape for every batch: networks are compiled once.
        squares = np.zeros((batch_size, *photos[0].shape), np.uint8)
        squares[: len(photos)] = photos
        annotations = self.encoder.model.predict_on_batch(squares)
        captions = self.caption_generator.captions(annotations, decoding, first)
        return captions[: len(photos)]


def encoder_of(trained_on: Metadata, weights: str, workdir: str) -> Encoder:
    """Builds the encoder that a captioner was trained with.

    Args:
        trained_on: The metadata of its annotations.
        weights: `"default"`, or a file.
        workdir: The folder of the run, for messages.

    Raises:
        UserError: The weights are others, or the metadata are not the
            encoder's.
    """
    encoder = build_encoder(trained_on.encoder, trained_on.layer, weights)
    if encoder.digest != trained_on.digest:
        raise UserError(
            f"The weights of {encoder.name} are not those that the captioner "
            f"in {workdir!r} was trained with (SHA-256 "
            f"{trained_on.digest[:12]}..., received "
            f"{encoder.digest[:12]}...). Give their file with "
            "--encoder_weights=FILE"
        )
    mode, precision = trained_on.resize_mode, trained_on.precision
    actual = Metadata.describe(encoder, mode, precision)
    differences = actual.differences(trained_on)
    if differences:
        path = os.path.join(workdir, METADATA_FILE)
        raise UserError(
            f"Expected {path} to describe the encoder: "
            f"{'; '.join(differences)}. Put that run's file back"
        )
    return encoder
