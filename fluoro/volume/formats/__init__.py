"""CT formats, one module each; `fluoro.volume.open_ct.FORMATS` lists them."""
