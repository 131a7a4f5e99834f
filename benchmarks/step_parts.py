"""The parts of a training step, as functions to be measured one by one."""

from collections.abc import Callable

import tensorflow as tf
from keras import ops

from show_attend_tell.model import Captioner
from show_attend_tell.objectives.likelihood import caption_nll


def parts(
    model: Captioner, batch: dict[str, tf.Tensor]
) -> dict[str, Callable[[], object]]:
    """Returns functions by name, each a graph of its own on fixed inputs.

    The decoder comprises the projection of the annotations, the words'
    product and the recurrence; the output layer two of the dropouts. What
    runs `+ backward` includes its own forward pass.

    Args:
        model: The model, compiled with an optimizer.
        batch: As for a call of the model.
    """
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
    logits = output(words, decoded.hidden, decoded.context)

    def decode(*words_and_state):
        return model.decoder(*words_and_state, annotations)

    timed = {}
    for name, function, inputs in (
        ("embedding", lambda: model.embedding(tokens[:, :, :-1]), ()),
        ("initial state", lambda: model.initial_state(annotations), ()),
        (
            "projection of annotations",
            lambda: cell.attention.project(annotations),
            (),
        ),
        (
            "words' product",
            lambda x: ops.matmul(x, cell.embedding_kernel),
            (words,),
        ),
        ("decoder", decode, (words, *state)),
        (
            "output layer",
            lambda *x: output(*x, training=True),
            (words, decoded.hidden, decoded.context),
        ),
        (
            "one dropout",
            lambda x: output.hidden_dropout(x, training=True),
            (decoded.hidden,),
        ),
        ("likelihood", lambda x: caption_nll(x, targets, mask), (logits,)),
        ("penalty", lambda x: model.regularizer(x, mask), (decoded.attention,)),
        (
            "complete model",
            lambda: model.losses_of(batch, training=True)[0],
            (),
        ),
    ):
        both = _with_gradients(function, model)
        timed[name] = _on(function, inputs)
        timed[f"{name} + backward"] = _on(both, inputs)
    gradients = [
        tf.random.normal(variable.shape, stddev=1e-3)
        for variable in model.trainable_variables
    ]
    timed["clipping and optimizer"] = _on(model.apply_gradients, (gradients,))
    return timed


def _on(function, inputs) -> Callable[[], object]:
    graph = tf.function(function, autograph=False)
    return lambda: graph(*inputs)


def _with_gradients(function, model):
    def both(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(function(*inputs))
        sources = [*inputs, *model.trainable_variables]
        # The outputs too: what is not returned is not computed.
        return outputs, tape.gradient(outputs, sources)

    return both
