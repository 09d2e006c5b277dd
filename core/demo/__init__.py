"""The bundled digit model and its feature extractor."""
