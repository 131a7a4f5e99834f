"""From encoded bytes to the square of pixels that an encoder is given."""
