"""Images: decoded, fitted to squares, augmented."""
