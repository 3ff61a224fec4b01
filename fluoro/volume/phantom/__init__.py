"""The thorax phantom: anatomy, motion, vessels, contrast."""
