"""Hard attention on COCO, with the authors' sizes.

    python -m show_attend_tell.train --recipe=coco_hard --data_dir=COCO

Data: COCO.
Time: not measured.
Expected: the paper: BLEU-4 without brevity penalty 0.250.
Reproduced: no.
"""

from show_attend_tell.configs.recipes import coco_soft

CONFIG = coco_soft.CONFIG.replace(
    objective="hard_attention", regularizer_weight=0.0
)
