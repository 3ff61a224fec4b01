"""CT in DICOM: headers, series, pixels, and the grid that they make."""
