"""From annotations to words: greedy, beam search, sampling.

One implementation for every runtime: batched, in the graph, `keras.ops`
alone, of the kind that TensorFlow, XLA and LiteRT's builtin operations all
run. `decode.decode` is all that others need.
"""
