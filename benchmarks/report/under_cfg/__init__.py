"""What the report says under classifier-free guidance: of guidance, and of scores."""
