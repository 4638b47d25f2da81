"""Run every benchmark: ``python -m benchmarks``."""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "benchmarks.fetch",
    "benchmarks.find",
    "benchmarks.typing",
    "benchmarks.warm_read",
    "benchmarks.shared_cache",
    "benchmarks.store",
    "benchmarks.accessor",
    "benchmarks.imports",
    "benchmarks.panel",
)

if __name__ == "__main__":
    for name in _MODULES:
        import_module(name).main([])
