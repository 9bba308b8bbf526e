"""Thin handlers, one module a surface."""
