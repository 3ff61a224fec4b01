"""Training sets: frames of drawn patients, views and physics, with their truth."""
