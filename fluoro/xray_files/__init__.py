"""X-ray images in DICOM: XA, XRF, RF, DX, CR and Enhanced XA, in and out (docs/xray_files.md)."""
