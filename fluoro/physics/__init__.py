"""Numbers and models of X-ray physics; no GPU code."""
