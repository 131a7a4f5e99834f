"""The parts of a training step, as functions to be timed one by one."""

from collections.abc import Callable

import tensorflow as tf
from keras import ops

from show_attend_tell.objectives.likelihood import caption_nll
from show_attend_tell.training.train_step import CaptionerTrainer


def parts(
    trainer: CaptionerTrainer, batch: dict[str, tf.Tensor]
) -> dict[str, Callable[[], object]]:
    """Returns functions by name, each a graph on fixed inputs.

    The decoder comprises the projection of the annotations, the words'
    product and the recurrence; the output layer two of the dropouts. What
    runs `+ backward` includes a forward pass.
    """
    model, objective = trainer.captioner, trainer.objective
    annotations, tokens = batch["annotations"], batch["tokens"]
    targets = tokens[:, :, 1:]
    mask = targets != 0
    cell, output = model.decoder.cell, model.output_layer
    words = model.embedding(tokens[:, :, :-1])
    state = [
        tf.repeat(x[:, None], tokens.shape[1], axis=1)
        for x in model.initial_state(annotations)
    ]
    decoded = model.decoder(words, *state, annotations)
    outputs = words, decoded.hidden, decoded.context
    functions = {
        "embedding": (lambda: model.embedding(tokens[:, :, :-1]),),
        "initial state": (lambda: model.initial_state(annotations),),
        "projection of annotations": (lambda: cell.project(annotations),),
        "words' product": (
            lambda x: ops.matmul(x, cell.embedding_kernel),
            words,
        ),
        "decoder": (lambda *x: model.decoder(*x, annotations), words, *state),
        "output layer": (lambda *x: output(*x, training=True), *outputs),
        "one dropout": (
            lambda x: output.hidden_dropout(x, training=True),
            decoded.hidden,
        ),
        "likelihood": (
            lambda x: caption_nll(x, targets, mask),
            output(*outputs),
        ),
        "penalty": (
            lambda x: objective.regularizer(x, mask),
            decoded.attention,
        ),
        "complete model": (
            lambda: objective.compute_losses(model, batch, training=True).loss,
        ),
    }
    graphs = {}
    for name, (function, *inputs) in functions.items():
        graphs[name] = _graph(function, inputs)
        both = _with_gradients(function, model.trainable_variables)
        graphs[f"{name} + backward"] = _graph(both, inputs)
    gradients = [
        tf.random.normal(variable.shape, stddev=1e-3)
        for variable in model.trainable_variables
    ]
    graphs["clipping and optimizer"] = _graph(
        trainer.apply_gradients, [gradients]
    )
    return graphs


def _graph(function, inputs) -> Callable[[], object]:
    graph = tf.function(function, autograph=False)
    return lambda: graph(*inputs)


def _with_gradients(function, variables):
    def both(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(function(*inputs))
        sources = [*inputs, *variables]
        # The outputs too: what is not returned is not computed.
        return outputs, tape.gradient(outputs, sources)

    return both
