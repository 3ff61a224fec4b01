"""From line integrals to the picture: stages of the image chain, each with its oracle."""
