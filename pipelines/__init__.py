"""Everything up to a batch: images, captions, annotations, records."""
