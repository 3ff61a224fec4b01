"""Pictures and charts that are drawn, not rendered."""
