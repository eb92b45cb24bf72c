"""Custom resources in the API server: which are served (`served`), what they do (`strategy`, `scale`), and what a
CustomResourceDefinition is told of itself (`definitions`). Schemas and rows are in api/.
"""
