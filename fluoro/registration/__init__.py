"""Where did the C-arm stand? Targets, similarity measures, optimisers, registration, metrics."""
