"""Asking a server for captions."""
