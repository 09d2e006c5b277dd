"""Every score under classifier-free guidance, of images and of pixels."""
