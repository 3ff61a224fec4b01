"""Where fluorosim's scripts look for its CT loaders; fluoro's own are in `fluoro.volume`."""
