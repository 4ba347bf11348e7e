"""Connection settings as ConfigurableResources: the only place that names environment variables."""
