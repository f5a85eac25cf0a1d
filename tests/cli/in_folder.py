"""Be a script as if Python had been started on it in another folder: `in_folder.py FOLDER SCRIPT WORDS…`.

Forks start where the process that forks works, with the places of modules that it has.
"""

import os
import runpy
import sys

_, folder, script, *words = sys.argv
os.chdir(folder)
sys.argv, sys.orig_argv = [script, *words], [sys.executable, script, *words]
given = [os.path.abspath(name) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name]
sys.path[:0] = [os.path.dirname(script), *given]
runpy.run_path(script, run_name="__main__")
