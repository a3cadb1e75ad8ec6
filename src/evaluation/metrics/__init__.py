"""One metric a file, all of one signature: generated and real images to rows of numbers."""
