"""OpenIGTLink."""
