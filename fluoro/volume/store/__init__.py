"""Volumes on disk: caches, prepared folders, CTs that one command fetches."""
