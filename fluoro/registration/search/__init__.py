"""The search for a pose: starts, optimisers, image pyramid, uncertainty."""
