"""The main job: two small networks on crossbars, and what harms them. Run it with ``mho demo``."""
