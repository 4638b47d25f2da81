"""Tests of b24frames: see `conftest.py`."""
