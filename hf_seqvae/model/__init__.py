"""The model floor: the only code that is copied into a Hub repository. Flat, self-contained."""
