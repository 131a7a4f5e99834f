"""Generates captions from annotations: greedy, beam search, sampling.

One implementation for every runtime: batched, in the graph, of operations of
`keras.ops` that TensorFlow, XLA and LiteRT's builtin operations all have.
`decode.decode` is all that others need.
"""
