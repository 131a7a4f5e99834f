r"""Self-critical training on Flickr8k, from a run of `flickr8k_soft`.

    python -m show_attend_tell.train --recipe=flickr8k_best \
        --data_dir=FLICKR8K --encoder=vgg16 --resize_mode=squash \
        --warm_start=RUN

Data: Flickr8k.
Time: 14 to 18 minutes on two cores beside another training, with consensus 24.
Expected: validation, VGG16: BLEU-4 0.220, METEOR 0.210, CIDEr 0.601; without
    consensus 0.205, 0.201, 0.512.
Reproduced: yes with VGG16, seed 0; without consensus seeds 0, 1 and 2.
"""

from show_attend_tell.configs.recipes import flickr8k_soft

# Captions that are trained by their rewards are short, so that ranking by the
# mean log-probability of a word suits them.
SELF_CRITICAL = {
    "objective": "self_critical",
    "reward_bleu": 1.0,
    "reward_meteor": 5.0,
    "reward_temperature": 0.5,
    "learning_rate": 1e-4,
    "epochs": 2,
    "length_penalty": 1.0,
}

CONFIG = flickr8k_soft.CONFIG.replace(**SELF_CRITICAL)
