"""From a captioner to files that other programs run."""
