"""The manual: `make manual` writes `docs/` as HTML and PDF into `build/manual/`."""
