r"""Hard attention on Flickr8k, by straight-through Gumbel.

    python -m show_attend_tell.train --recipe=flickr8k_hard \
        --data_dir=FLICKR8K --encoder=vgg16 --resize_mode=squash

Data: Flickr8k.
Time: 40 to 46 minutes on two cores beside another training.
Expected: validation, VGG16: BLEU-4 0.213, METEOR 0.203, CIDEr 0.547; without
    consensus 0.192, 0.193, 0.461. The paper, test, VGG19: 0.213, 0.203.
Reproduced: yes with VGG16, seeds 0, 1 and 2.
"""

from show_attend_tell.configs.recipes import flickr8k_soft

# On photos attention is broad, and one location holds little of what all of
# them hold: the less is sampled, the less is lost. Sampling regularizes, as
# dropout does, which is therefore smaller.
CONFIG = flickr8k_soft.CONFIG.replace(
    objective="hard_attention",
    regularizer_weight=0.0,
    gumbel_temperature=1.0,
    soft_attention_probability=0.8,
    dropout=0.4,
)
