"""What an X-ray pulse is made with, and what it costs the patient."""
