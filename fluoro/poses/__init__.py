"""Where the C-arm stands from frame to frame: one pose source a module."""
