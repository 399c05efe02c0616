"""A self-hosted password reset service for an organisation that already has a portal."""
