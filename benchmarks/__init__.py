"""Measurements against the practice portal; they need the extra ``test``."""
