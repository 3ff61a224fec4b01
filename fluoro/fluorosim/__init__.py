"""The names that scripts written for fluorosim use, on top of fluoro's own rooms."""
