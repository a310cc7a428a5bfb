import sys
from pathlib import Path

# The references lie beside the tests; importlib mode puts nothing on the path by itself.
sys.path.insert(0, str(Path(__file__).parent))
