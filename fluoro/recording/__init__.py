"""What is written and read besides CT: films, images, run records."""
