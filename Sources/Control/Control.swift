// Keeps the place of this room until its first file is written.
