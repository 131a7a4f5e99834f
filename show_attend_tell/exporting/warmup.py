"""Warm-up requests that TensorFlow Serving answers when it loads a model."""

import os
from collections.abc import Sequence

import tensorflow as tf

from pipelines.errors import UserError
from show_attend_tell.inference.saved_model_session import SavedModelSession

# Where TensorFlow Serving looks for them.
FILE_NAME = os.path.join("assets.extra", "tf_serving_warmup_requests")
INSTALL = "pip install 'show-attend-tell[serving]'"

_MOST_RECORDS = 1000  # More are an error of the server.


def write_warmup(
    path: str,
    model: str,
    signature: str,
    images: Sequence[bytes],
    batch_sizes: Sequence[int],
) -> bool:
    """Writes one request for each batch size into a SavedModel.

    Args:
        path: Its folder.
        model: The name it will be served by.
        signature: The signature of the requests.
        images: Encoded images, taken in turn.
        batch_sizes: The number of images of each request.

    Returns:
        False if tensorflow-serving-api is missing.

    Raises:
        UserError: There are too many batch sizes.
    """
    if len(batch_sizes) > _MOST_RECORDS:
        raise UserError(
            f"Expected at most {_MOST_RECORDS} batch sizes. Received: "
            f"{len(batch_sizes)}"
        )
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    file = os.path.join(path, FILE_NAME)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with tf.io.TFRecordWriter(file) as writer:
        for size in batch_sizes:
            batch = [images[n % len(images)] for n in range(size)]
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = signature
            request.inputs["images"].CopyFrom(
                tf.make_tensor_proto(batch, tf.string)
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return True


def replay_warmup(path: str) -> list[int]:
    """Answers the warm-up requests, as a server does on loading.

    Args:
        path: The folder of the SavedModel.

    Returns:
        The batch size of each.

    Raises:
        UserError: The model cannot be loaded, or a request fails, which would
            keep a server from loading the model.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    sizes = []
    records = tf.data.TFRecordDataset(os.path.join(path, FILE_NAME))
    with SavedModelSession(path) as session:
        for record in records.as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            images = tf.make_ndarray(request.inputs["images"])
            answer = session(request.model_spec.signature_name, images=images)
            if not answer["valid"].all():
                raise UserError(
                    f"The warm-up request of {len(images)} images failed. "
                    "Nothing was written."
                )
            sizes.append(len(images))
    return sizes
