"""A stand-in of Notion, API version 2025-09-03: pages, blocks, data sources, comments, files, limits, people."""
