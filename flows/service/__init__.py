"""The service: the recipe and its stages as Prefect flows, their deployments, and what starts and watches them."""
