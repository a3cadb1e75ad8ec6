"""Every parameter once: its type, bounds, default and help; recipes; and what decides the bits of each stage."""
