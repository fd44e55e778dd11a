"""The cloud: one Django project of several apps, each a room with one door (`api.py`)."""
