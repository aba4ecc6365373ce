"""What tests of networks share."""

import pytest
import torch


@pytest.fixture
def exact_float32():
    """Has GPUs multiply float32 as float32: unless told otherwise, torch lets convolutions round to 10 bits (TF32)."""
    convolutions, matrices = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, matrices.allow_tf32
    convolutions.allow_tf32 = matrices.allow_tf32 = False
    yield
    convolutions.allow_tf32, matrices.allow_tf32 = before
