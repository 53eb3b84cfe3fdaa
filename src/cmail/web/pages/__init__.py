"""The pages of the web interface, one module a page: `routes(pages) -> list[Route]`."""
