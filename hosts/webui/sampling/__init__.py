"""What happens while a sampler runs, and after it: measuring, guidance, searches. Imported only where the web UI has the hooks."""
