"""Types whose values never change, so that the value itself is copy enough."""

from __future__ import annotations

import torch

PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device))
