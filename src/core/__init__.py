"""What everything else stands on: errors, files, signals, paths, the device, and the terminal."""
