"""The stages of the image chain, one module each; `order` has them in order."""
