"""Poses in and frames out over DDS: wire types, their meaning, participants. No Holoscan here."""
