"""TensorFlow Serving's gRPC protocol, by the stubs that it publishes.

The stubs import TensorFlow, which takes seconds; `rest` does without.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from show_attend_tell.serving.failures import (
    Unavailable,
    late,
    refused,
    too_large,
    unreachable,
)


class RpcPredictor:
    """Sends requests to a model, over one connection.

    Args:
        host: Name or address of the server.
        port: Its gRPC port.
        model: Name of the model.
        version: Its version, or `None` for the one that the server prefers.
        signature: Name of the signature.
        max_bytes: The largest answer that is read.

    Raises:
        UserError: tensorflow-serving-api is not installed.
    """

    port = "gRPC port, 8500 by default"

    def __init__(
        self,
        host: str,
        port: int,
        model: str,
        version: int | None,
        signature: str,
        max_bytes: int,
    ):
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
        self.target = f"{host}:{port}"
        self._max_bytes = max_bytes
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        self._request.model_spec.signature_name = signature
        if version is not None:
            self._request.model_spec.version.value = version
        self._channel = grpc.insecure_channel(
            self.target,
            options=[
                ("grpc.max_receive_message_length", max_bytes),
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

        Args:
            images: The encoded images.
            seconds: How long it may take.

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
            raise self._failure(error, seconds) from error
        return {
            name: self._array(name, tensor)
            for name, tensor in response.outputs.items()
        }

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _failure(self, error, seconds: float) -> Exception:
        from grpc import StatusCode

        code, reason = error.code(), str(error.details())
        if code == StatusCode.UNAVAILABLE:
            return Unavailable(reason)
        if code == StatusCode.DEADLINE_EXCEEDED:
            return late(self.target, seconds)
        if code == StatusCode.UNIMPLEMENTED:
            return unreachable(self.target, self.port, reason)
        if "message larger than max" in reason and "SERVER" not in reason:
            return too_large(self.target, self._max_bytes)
        return refused(self.target, f"{code.name}: {reason}")

    def _array(self, name: str, tensor) -> np.ndarray:
        """Unfolds a tensor, which may say one number and mean many."""
        import tensorflow as tf

        count = 1
        for axis in tensor.tensor_shape.dim:
            count *= max(axis.size, 0)
        if count > self._max_bytes:
            raise too_large(self.target, self._max_bytes)
        try:
            return tf.make_ndarray(tensor)
        except (TypeError, ValueError) as error:
            raise refused(self.target, f"{name} is no tensor") from error
