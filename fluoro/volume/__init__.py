"""Volumes: read or made, on a grid in the patient, as CT numbers or attenuation."""
