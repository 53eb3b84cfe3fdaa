"""The HTTP API under /api/v1, one module a resource: `routes(context) -> list[Route]`."""
