"""From line integrals to the image: stages of the image chain, each with its reference."""
