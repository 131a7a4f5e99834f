r"""Self-critical training on Flickr8k, from a run of `flickr8k_hard`.

    python -m show_attend_tell.train --recipe=flickr8k_best_hard \
        --data_dir=FLICKR8K --encoder=vgg16 --resize_mode=squash \
        --warm_start=RUN

Data: Flickr8k.
Time: 14 to 15 minutes on two cores.
Expected: validation, VGG16: BLEU-4 0.219, METEOR 0.203, CIDEr 0.566.
Reproduced: yes with VGG16, seeds 0 and 1.
"""

from show_attend_tell.configs.recipes import flickr8k_hard
from show_attend_tell.configs.recipes.flickr8k_best import SELF_CRITICAL

CONFIG = flickr8k_hard.CONFIG.replace(**SELF_CRITICAL)
