"""Soft attention on rendered scenes.

    python -m show_attend_tell.train --recipe=scenes

Data: scenes, rendered.
Time: 7 minutes on two cores.
Expected: test: BLEU-4 0.866, true captions 91.4 %, pointing accuracy 96.2 %.
Reproduced: yes, seed 0.
"""

from show_attend_tell.configs.data import DataConfig
from show_attend_tell.configs.encoder import EncoderConfig
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.configs.objective import ObjectiveConfig
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.configs.training import TrainingConfig

CONFIG = RunConfig(
    data=DataConfig(dataset="scenes", min_count=1, batch_size=128),
    encoder=EncoderConfig(name="scenes", resize_mode="squash"),
    model=ModelConfig(
        embedding_size=128,
        units=256,
        attention_units=128,
        initial_units=0,
        dropout=0.5,
        annotation_scale=1.0,
    ),
    # The penalty would spread attention beyond the objects, which are small.
    objective=ObjectiveConfig(regularizer_weight=0.0),
    training=TrainingConfig(epochs=9, learning_rate=3e-3),
)
