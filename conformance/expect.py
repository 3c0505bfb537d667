"""What tests say about refusals."""

import contextlib

import botocore.exceptions
import pytest


@contextlib.contextmanager
def refused(status, code=None):
    """The client call inside must fail with that HTTP status and S3 code; gives access to the error's response."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield caught
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status, response
    if code:
        assert response["Error"]["Code"] == code, response
