"""The published comparison of data sets, registration of their views, and the report on both."""
