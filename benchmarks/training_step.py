"""Compares the speed of a training step with the same step in PyTorch.

    pip install -e '.[benchmarks]'
    python -m benchmarks.training_step
    python -m benchmarks.training_step --profile

The first form checks, on a small shape without dropout, that all models compute
the same loss and gradients from the same weights. Then they take turns of a few
steps, each in a process, so that other work on the machine affects all alike:

- `ours`: the step that `train` takes;
- `PyTorch, tight`: as an expert would write it;
- `PyTorch, tutorial`: as tutorials write it, with everything inside the loop.

A step is: forward, backward, clipping by the global norm, Adam, on random
annotations and words, for batches of single captions (as in the paper) and
batches of images with all their captions (the default of `train`). With
`--profile` the parts of our step are measured instead, and compared with the
time of its matrix products.

Measure on an idle machine: PyTorch's threads spin while they wait, so that
other work slows it down far more than ours. Trust the least of the times.
"""

import dataclasses
import multiprocessing
import os
import resource
import statistics
from collections.abc import Callable

import numpy as np
from absl import app, flags

from benchmarks.timing import timed

_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Captions in a batch.", lower_bound=1
)
_CAPTIONS = flags.DEFINE_integer(
    "captions_per_image", 5, "Captions of an image.", lower_bound=2
)
_LOCATIONS = flags.DEFINE_integer("locations", 196, "L.", lower_bound=1)
_DEPTH = flags.DEFINE_integer("depth", 512, "D.", lower_bound=1)
_EMBEDDING = flags.DEFINE_integer("embedding_size", 512, "E.", lower_bound=1)
_UNITS = flags.DEFINE_integer("units", 512, "U.", lower_bound=1)
_ATTENTION = flags.DEFINE_integer("attention_units", 512, "A.", lower_bound=1)
_VOCABULARY = flags.DEFINE_integer("vocabulary_size", 8000, "V.", lower_bound=4)
_WORDS = flags.DEFINE_integer("words", 14, "T.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "How often each model has its turn.", lower_bound=1
)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps a turn.", lower_bound=1)
_THREADS = flags.DEFINE_integer(
    "threads", os.cpu_count(), "Cores that each may use.", lower_bound=1
)
_TUTORIAL = flags.DEFINE_bool("tutorial", True, "Measure the tutorial's too.")
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Take our own step apart; needs no PyTorch."
)

OURS, TIGHT, TUTORIAL = "ours", "PyTorch, tight", "PyTorch, tutorial"

_LEARNING_RATE, _CLIP_NORM, _EPSILON = 5e-4, 5.0, 1e-7
_TOLERANCE = 1e-3
_LARGE = 2048  # rows and columns of a product that runs at the peak


@dataclasses.dataclass(frozen=True)
class Shape:
    """A batch and a model."""

    images: int  # N
    captions: int  # K, of each image
    words: int  # T
    locations: int  # L
    # Of `vocabulary`, `embedding`, `units`, `attention_units` and `depth`.
    sizes: dict[str, int]
    dropout: float
    threads: int

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Annotations as a ReLU gives them, and words; one caption is short."""
        rng = np.random.default_rng(0)
        size = (self.images, self.locations, self.sizes["depth"])
        annotations = np.maximum(rng.normal(size=size), 0).astype(np.float32)
        size = (self.images, self.captions, self.words + 1)
        tokens = rng.integers(1, self.sizes["vocabulary"], size, np.int32)
        tokens[-1, -1, -2:] = 0
        return annotations, tokens


class Ours:
    """Our model, stepped by the function that `fit` calls."""

    def __init__(self, shape: Shape):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import keras
        import tensorflow as tf

        from show_attend_tell.configs.model import ModelConfig
        from show_attend_tell.model import Captioner
        from show_attend_tell.objectives.likelihood import Likelihood
        from show_attend_tell.training.train_step import CaptionerTrainer

        tf.get_logger().setLevel("ERROR")
        tf.config.threading.set_intra_op_parallelism_threads(shape.threads)
        tf.config.threading.set_inter_op_parallelism_threads(shape.threads)
        keras.utils.set_random_seed(0)
        sizes = shape.sizes
        config = ModelConfig(
            embedding_size=sizes["embedding"],
            units=sizes["units"],
            attention_units=sizes["attention_units"],
            initial_units=sizes["units"],
            dropout=shape.dropout,
            annotation_scale=1.0,
        )
        captioner = Captioner(config, sizes["vocabulary"])
        annotations, tokens = shape.batch()
        batch = {"annotations": annotations, "tokens": tokens}
        captioner.build({name: x.shape for name, x in batch.items()})
        self.trainer = CaptionerTrainer(captioner, Likelihood())
        optimizer = keras.optimizers.Adam(
            _LEARNING_RATE, epsilon=_EPSILON, global_clipnorm=_CLIP_NORM
        )
        optimizer.build(captioner.trainable_variables)
        self.trainer.compile(optimizer, jit_compile=False)
        self.trainer.make_train_function()
        self.batch = {name: tf.constant(x) for name, x in batch.items()}
        self._batches = iter(tf.data.Dataset.from_tensors(self.batch).repeat())

    def step(self) -> None:
        """Takes a step of training."""
        self.trainer.train_function(self._batches)["loss"].numpy()

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by path."""
        variables = self.trainer.captioner.trainable_variables
        return {_path(v): v.numpy() for v in variables}

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """Returns the loss, and the gradients by path."""
        import tensorflow as tf

        captioner, objective = self.trainer.captioner, self.trainer.objective
        with tf.GradientTape() as tape:
            losses = objective.compute_losses(captioner, self.batch, True)
        variables = captioner.trainable_variables
        gradients = tape.gradient(losses.loss, variables)
        return float(losses.loss), {
            _path(variable): tf.convert_to_tensor(gradient).numpy()
            for variable, gradient in zip(variables, gradients, strict=True)
        }


def _path(variable) -> str:
    return variable.path.partition("/")[2]


class InPyTorch:
    """One of the models in PyTorch."""

    def __init__(self, shape: Shape, kind: str):
        import torch

        from benchmarks import pytorch_captioner

        torch.set_num_threads(shape.threads)
        torch.manual_seed(0)
        kinds = {
            TIGHT: pytorch_captioner.TightCaptioner,
            TUTORIAL: pytorch_captioner.TutorialCaptioner,
        }
        self.model = kinds[kind](shape.sizes, shape.dropout)
        annotations, tokens = shape.batch()
        self.batch = torch.tensor(annotations), torch.tensor(tokens).long()
        self._clip = torch.nn.utils.clip_grad_norm_
        # Three times as fast on a CPU as foreach=True.
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), _LEARNING_RATE, eps=_EPSILON, fused=True
        )

    def step(self) -> None:
        """Takes a step of training."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.model.loss(*self.batch)
        loss.backward()
        self._clip(self.model.parameters(), _CLIP_NORM, foreach=True)
        self._optimizer.step()
        loss.item()

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Takes our weights, by path."""
        from benchmarks import pytorch_captioner

        views = pytorch_captioner.weights_in_our_layout(self.model)
        names = {pytorch_captioner.PARAMETERS[path] for path in weights}
        assert names == set(views), names ^ set(views)
        for path, values in weights.items():
            view = views[pytorch_captioner.PARAMETERS[path]]
            view[...] = values.reshape(view.shape)

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """Returns the loss, and the gradients by our paths."""
        from benchmarks import pytorch_captioner

        loss = self.model.loss(*self.batch)
        loss.backward()
        views = pytorch_captioner.weights_in_our_layout(self.model, True)
        return loss.item(), {
            path: np.array(views[name])
            for path, name in pytorch_captioner.PARAMETERS.items()
        }


def _work(name: str, shape: Shape, pipe) -> None:
    """Calls the methods of a model that are requested through the pipe."""
    model = Ours(shape) if name == OURS else InPyTorch(shape, name)
    for request, argument in iter(pipe.recv, None):
        if request == "steps":
            pipe.send([timed(model.step) for _ in range(argument)])
        elif request == "memory":
            usage = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(usage.ru_maxrss / 2**20)
        else:
            arguments = () if argument is None else (argument,)
            pipe.send(getattr(model, request)(*arguments))


class Worker:
    """A model in a process."""

    def __init__(self, name: str, shape: Shape):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(name, shape, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, request: str, argument=None):
        """Returns the result of a method of the model."""
        self._pipe.send((request, argument))
        return self._pipe.recv()

    def stop(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def check_equal(names: list[str], threads: int) -> None:
    """Compares losses and gradients on a small shape, without dropout."""
    sizes = {"vocabulary": 50, "embedding": 24, "units": 32}
    sizes |= {"attention_units": 20, "depth": 28}
    for captions in (1, 3):
        shape = Shape(4, captions, 6, 30, sizes, 0.0, threads)
        workers = {name: Worker(name, shape) for name in names}
        weights = workers[OURS].ask("weights")
        ours = workers[OURS].ask("loss_and_gradients")
        for name in names[1:]:
            workers[name].ask("set_weights", weights)
            theirs = workers[name].ask("loss_and_gradients")
            loss, gradient = _differences(ours, theirs)
            print(
                f"same loss and gradients, {captions} captions an image, "
                f"{name}: they differ by {loss:.0e} and {gradient:.0e} "
                "of their size",
                flush=True,
            )
            if not max(loss, gradient) < _TOLERANCE:
                raise SystemExit("error: the models are not the same")
        for worker in workers.values():
            worker.stop()


def _differences(ours, theirs) -> tuple[float, float]:
    """Returns relative differences of losses and gradients (the largest)."""
    loss = abs(ours[0] - theirs[0]) / abs(ours[0])
    gradients = []
    for path, gradient in ours[1].items():
        other = theirs[1][path].reshape(gradient.shape)
        size = np.abs(gradient).max()
        gradients.append(np.abs(gradient - other).max() / size)
    return loss, max(gradients)


def compare(names: list[str], shape: Shape) -> None:
    """Times the models in turns, and prints a table."""
    workers = {name: Worker(name, shape) for name in names}
    times = {name: [] for name in names}
    for worker in workers.values():
        worker.ask("steps", 2)  # to compile, and to touch the memory
    for _ in range(_ROUNDS.value):
        for name, worker in workers.items():
            times[name] += worker.ask("steps", _STEPS.value)
    memory = {name: workers[name].ask("memory") for name in names}
    for worker in workers.values():
        worker.stop()
    captions = shape.images * shape.captions
    print(
        f"\n{shape.images} images x {shape.captions} captions, "
        f"{shape.words} words, {shape.locations} locations\n"
        "                     ms/step: min median   processor   captions/s"
        "  times PyTorch, tight        GiB"
    )
    least = {name: min(rows)[0] for name, rows in times.items()}
    medians = {
        name: [1000 * statistics.median(x) for x in zip(*rows, strict=True)]
        for name, rows in times.items()
    }
    for name in names:
        wall, processor = medians[name]
        print(
            f"{name:20s} {1000 * least[name]:12.0f} {wall:6.0f} "
            f"{processor:11.0f} {captions / least[name]:12.0f} "
            f"{least[TIGHT] / least[name]:10.2f} (min) "
            f"{medians[TIGHT][0] / wall:5.2f} (median) {memory[name]:5.1f}",
            flush=True,
        )


def multiply_adds(shape: Shape) -> int:
    """Counts the multiply-adds of a step's matrix products.

    Each product is computed once forward and once for each of its factors, but
    for annotations, which have no gradient.
    """
    vocabulary, embedding, units, attention, depth = shape.sizes.values()
    a_word = (
        (embedding + units + depth) * 4 * units
        + units * attention
        + shape.locations * depth
        + (units + depth) * embedding
        + embedding * vocabulary
    )
    projection = shape.images * shape.locations * depth * attention
    words = shape.images * shape.captions * shape.words
    return 3 * words * a_word + 2 * projection


def _large_product() -> Callable[[], object]:
    """Returns a product that runs as fast as any."""
    import tensorflow as tf

    size = (_LARGE, _LARGE)
    left, right = tf.random.normal(size), tf.random.normal(size)
    return lambda: tf.linalg.matmul(left, right)


def profile(shape: Shape) -> None:
    """Prints the time of each part of our step."""
    from benchmarks import step_parts

    ours = Ours(shape)
    parts = {"complete step": ours.step}
    parts |= step_parts.parts(ours.trainer, ours.batch)
    large = f"one product of {_LARGE} x {_LARGE} numbers"
    parts[large] = _large_product()
    times = {name: [] for name in parts}
    for _ in range(_ROUNDS.value):
        for name, call in parts.items():
            call()  # to compile, and to come back to the memory
            times[name] += [timed(call) for _ in range(_STEPS.value)]
    print(
        f"\n{shape.images} images x {shape.captions} captions\n"
        "part                                     ms: min median   processor"
    )
    for name, rows in times.items():
        wall, processor = (
            1000 * statistics.median(x) for x in zip(*rows, strict=True)
        )
        least = 1000 * min(rows)[0]
        print(f"{name:40s} {least:8.1f} {wall:6.1f} {processor:11.1f}")
    cost, step = multiply_adds(shape), min(times["complete step"])[0]
    at_best = min(times[large])[0] * cost / _LARGE**3
    print(
        f"The step's products, {cost / 1e9:.1f} G multiply-adds, would take "
        f"{1000 * at_best:.0f} ms at the speed of the last: "
        f"{at_best / step:.0%} of the step",
        flush=True,
    )


def _shapes() -> list[Shape]:
    sizes = {
        "vocabulary": _VOCABULARY.value,
        "embedding": _EMBEDDING.value,
        "units": _UNITS.value,
        "attention_units": _ATTENTION.value,
        "depth": _DEPTH.value,
    }
    images = max(1, round(_BATCH_SIZE.value / _CAPTIONS.value))
    batches = ((_BATCH_SIZE.value, 1), (images, _CAPTIONS.value))
    return [
        Shape(n, k, _WORDS.value, _LOCATIONS.value, sizes, 0.5, _THREADS.value)
        for n, k in batches
    ]


def main(_) -> None:
    """Checks that the models are equal and times them, or profiles ours."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine has other work to do (load {load:.1f}).")
    names = [OURS, TIGHT] + [TUTORIAL] * _TUTORIAL.value
    if _PROFILE.value:
        for shape in _shapes():
            profile(shape)
        return
    check_equal(names, _THREADS.value)
    for shape in _shapes():
        compare(names, shape)


if __name__ == "__main__":
    app.run(main)
