"""What shapes a run: settings, recipes, flags."""
