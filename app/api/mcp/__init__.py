"""The tools of a running agent, over the Model Context Protocol."""
