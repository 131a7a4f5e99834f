"""Soft attention on COCO, with the authors' sizes.

    python -m show_attend_tell.train --recipe=coco_soft --data_dir=COCO

Data: COCO.
Time: not measured.
Expected: the paper: BLEU-4 without brevity penalty 0.243.
Reproduced: no.
"""

from show_attend_tell.configs.data import DataConfig
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.configs.training import TrainingConfig

CONFIG = RunConfig(
    data=DataConfig(dataset="coco"),
    model=ModelConfig(units=1800),
    training=TrainingConfig(learning_rate=2e-4, schedule="constant"),
)
