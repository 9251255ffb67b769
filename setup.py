"""The native kernel: built where Rust is, left out where it is not.

``CSV2KAFKA_REQUIRE_NATIVE=1`` makes a build fail that cannot have it.
"""

import os

from setuptools import setup
from setuptools_rust import Binding, RustExtension

setup(
    rust_extensions=[
        RustExtension(
            "csv2kafka.kernel._rust",
            path="rust/Cargo.toml",
            binding=Binding.PyO3,
            args=["--locked"],
            debug=False,
            optional=os.environ.get("CSV2KAFKA_REQUIRE_NATIVE", "") in ("", "0"),
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
