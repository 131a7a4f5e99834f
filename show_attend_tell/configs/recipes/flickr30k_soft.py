r"""Soft attention on Flickr30k.

    python -m show_attend_tell.train --recipe=flickr30k_soft \
        --data_dir=FLICKR30K

Data: Flickr30k.
Time: not measured.
Expected: the paper: BLEU-4 without brevity penalty 0.191.
Reproduced: no.
"""

from show_attend_tell.configs.recipes import flickr8k_soft

CONFIG = flickr8k_soft.CONFIG.replace(dataset="flickr30k")
