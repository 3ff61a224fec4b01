"""What is written and read besides CT: films, pictures, run records."""
