"""Show, Attend and Tell: everything from a batch on."""
