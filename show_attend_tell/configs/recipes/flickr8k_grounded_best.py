r"""Rewards on Flickr8k that keep attention in the boxes, from a grounded run.

    python -m show_attend_tell.train --recipe=flickr8k_grounded_best \
        --data_dir=FLICKR8K --boxes=FLICKR30K_ENTITIES --encoder=vgg16 \
        --resize_mode=squash --warm_start=RUN

Data: Flickr8k, Flickr30k Entities.
Time: not measured.
Expected: as flickr8k_best, with attention in the boxes.
Reproduced: no.
"""

from show_attend_tell.configs.recipes import flickr8k_best

# Of the words of sampled captions that name a thing with a box.
CONFIG = flickr8k_best.CONFIG.replace(attention_supervision=1.0)
