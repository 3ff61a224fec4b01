"""Similarity measures between two images."""
