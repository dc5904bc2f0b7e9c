"""Drawings as pure functions: values in, rows of (glyph, layer) out."""
