r"""Hard attention on Flickr30k.

    python -m show_attend_tell.train --recipe=flickr30k_hard \
        --data_dir=FLICKR30K

Data: Flickr30k.
Time: not measured.
Expected: the paper: BLEU-4 without brevity penalty 0.199.
Reproduced: no.
"""

from show_attend_tell.configs.recipes import flickr8k_hard

CONFIG = flickr8k_hard.CONFIG.replace(dataset="flickr30k")
