"""A person decides about borderline images while the run waits: what is asked, how long, and the route that answers come by."""
