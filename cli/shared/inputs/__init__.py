"""What people have: models, prompts and images in the forms that they come in."""
