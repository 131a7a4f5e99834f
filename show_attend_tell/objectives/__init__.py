"""What training minimises: one class for each objective."""

from show_attend_tell.objectives.hard_attention import HardAttention
from show_attend_tell.objectives.likelihood import Likelihood
from show_attend_tell.objectives.objective import Losses, Objective
from show_attend_tell.objectives.self_critical import SelfCritical

__all__ = ["HardAttention", "Likelihood", "Losses", "Objective", "SelfCritical"]
