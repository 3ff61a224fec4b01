"""What is in the beam besides the patient: one kind of object a module."""
