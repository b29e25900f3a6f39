"""How a bound turn reaches an agent."""
