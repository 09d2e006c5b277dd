"""What the report, the README and the help say of colour photos."""
