"""A self-hosted password reset service for an organisation that already has a portal."""

VERSION = "0.1.0"  # That of pyproject.toml.
