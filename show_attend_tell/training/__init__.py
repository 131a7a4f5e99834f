"""From settings to a trained captioner."""
