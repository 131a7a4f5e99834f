"""Requests to TensorFlow Serving over gRPC, by its published stubs.

The stubs import TensorFlow, which takes seconds; `rest` does without.
"""

import math
from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from show_attend_tell.serving.endpoint import Endpoint, Unavailable


class GrpcPredictor:
    """Sends requests to a model, over one connection.

    Raises:
        UserError: tensorflow-serving-api is not installed.
    """

    port_name = "gRPC port, 8500"

    def __init__(self, endpoint: Endpoint):
        try:
            import grpc
            from tensorflow_serving.apis import (
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            raise UserError(
                "gRPC needs tensorflow-serving-api: pip install "
                "'show-attend-tell[serving]'. Or use --protocol=rest"
            ) from error
        self._endpoint = endpoint
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = endpoint.model
        self._request.model_spec.signature_name = endpoint.signature
        if endpoint.version is not None:
            self._request.model_spec.version.value = endpoint.version
        self._channel = grpc.insecure_channel(
            endpoint.target,
            options=[
                ("grpc.max_receive_message_length", endpoint.max_bytes),
                ("grpc.max_send_message_length", -1),
                # Retries are the client's, the same for both protocols.
                ("grpc.enable_retries", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        stub = prediction_service_pb2_grpc.PredictionServiceStub
        self._predict = stub(self._channel).Predict

    def predict(self, images: Sequence[bytes], seconds: float) -> dict:
        """Returns the outputs of the signature, as arrays.

        All of them: a server batches only requests for all outputs.

        Raises:
            Unavailable: The status is UNAVAILABLE.
            UserError: Anything else went wrong.
        """
        import grpc
        import tensorflow as tf

        request = type(self._request)()
        request.CopyFrom(self._request)
        request.inputs["images"].CopyFrom(
            tf.make_tensor_proto(list(images), tf.string, [len(images)])
        )
        try:
            response = self._predict(request, timeout=seconds)
        except grpc.RpcError as error:
            raise self._error(error, seconds) from error
        outputs = response.outputs.items()
        return {name: self._array(name, tensor) for name, tensor in outputs}

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _error(self, error, seconds: float) -> Exception:
        from grpc import StatusCode

        code, reason = error.code(), str(error.details())
        if code == StatusCode.UNAVAILABLE:
            return Unavailable(reason)
        if code == StatusCode.DEADLINE_EXCEEDED:
            return self._endpoint.timed_out(seconds)
        if code == StatusCode.UNIMPLEMENTED:
            return self._endpoint.unreachable(reason)
        if "message larger than max" in reason and "SERVER" not in reason:
            return self._endpoint.too_large()
        return self._endpoint.refused(f"{code.name}: {reason}")

    def _array(self, name: str, tensor) -> np.ndarray:
        """Unpacks a tensor, where a single number may stand for many."""
        import tensorflow as tf

        shape = [max(axis.size, 0) for axis in tensor.tensor_shape.dim]
        if math.prod(shape) > self._endpoint.max_bytes:
            raise self._endpoint.too_large()
        try:
            return tf.make_ndarray(tensor)
        except (TypeError, ValueError) as error:
            raise self._endpoint.refused(f"{name} is no tensor") from error
