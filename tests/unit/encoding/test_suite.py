"""Both encoders pass the suite that a plug-in's encoder has to pass."""

from __future__ import annotations

import pytest

from csv2kafka.encoding import JsonEncoder, RawEncoder
from csv2kafka.protocols import Encoder
from csv2kafka.testing import EncoderConformance

pytestmark = pytest.mark.usefixtures("each_kernel")


class TestJson(EncoderConformance):
    def make(self) -> Encoder:
        return JsonEncoder()


class TestJsonWithKeys(EncoderConformance):
    def make(self) -> Encoder:
        return JsonEncoder(keys=("name", "id"))


class TestRaw(EncoderConformance):
    def make(self) -> Encoder:
        return RawEncoder()
