"""What several test files share and no fixture gives."""
