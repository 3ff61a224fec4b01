"""Poses, C-arm kinematics and cone-beam projection. Knows no volume, no image, no device."""
