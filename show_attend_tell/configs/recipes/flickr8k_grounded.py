r"""Soft attention on Flickr8k, supervised by people's boxes.

    python -m show_attend_tell.train --recipe=flickr8k_grounded \
        --data_dir=FLICKR8K --boxes=FLICKR30K_ENTITIES --encoder=vgg16 \
        --resize_mode=squash

Data: Flickr8k, Flickr30k Entities.
Time: not measured.
Expected: as flickr8k_soft, with attention in the boxes.
Reproduced: no.
"""

from show_attend_tell.configs.recipes import flickr8k_soft

CONFIG = flickr8k_soft.CONFIG.replace(attention_supervision=1.0)
