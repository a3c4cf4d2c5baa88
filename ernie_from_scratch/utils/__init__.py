"""Files, folders, checksums and settings: what every other package uses."""
