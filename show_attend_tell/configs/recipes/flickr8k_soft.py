r"""Soft attention on Flickr8k, with sizes for two cores.

    python -m show_attend_tell.train --recipe=flickr8k_soft \
        --data_dir=FLICKR8K --encoder=vgg16 --resize_mode=squash

Data: Flickr8k.
Time: 37 minutes on two cores beside another training, and 18 minutes for the
    annotations.
Expected: validation, VGG16: BLEU-4 0.213, METEOR 0.205, CIDEr 0.563; without
    consensus 0.203, 0.200, 0.498. The paper, test, VGG19: 0.195, 0.189.
Reproduced: yes with VGG16, seed 0; without consensus seeds 0, 1 and 2.
"""

from show_attend_tell.configs.data import DataConfig
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.configs.objective import ObjectiveConfig
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.configs.training import TrainingConfig

CONFIG = RunConfig(
    data=DataConfig(dataset="flickr8k"),
    model=ModelConfig(embedding_size=256, attention_units=256),
    # As the sum over 196 locations, the penalty of a caption of a few words
    # stays large, and attention spreads.
    objective=ObjectiveConfig(regularizer_normalization="mean"),
    training=TrainingConfig(epochs=8, learning_rate=2e-3),
    # Captions of similar photos choose better among hypotheses than scores.
    decoding=Decoding(consensus=20),
)
