"""diffusers host: the forms that diffusers itself has for guidance and for callbacks."""
