"""The configuration of a run: its sections, recipes and flags."""
