"""Autobahn's `wstest` from a folder of packages, for Python 2.7. Ends when standard input does.

    python2.7 wstest.py FOLDER ARGUMENTS...
"""

import os
import site
import sys
import threading


def end_with_parent():
    sys.stdin.read()
    os._exit(1)


folder = sys.argv.pop(1)
# Not PYTHONPATH: the folder has .pth files, which make `zope` a package.
site.addsitedir(folder)
# The suite imports its own modules as if they were at the top.
sys.path.insert(0, os.path.join(folder, "autobahntestsuite"))

watcher = threading.Thread(target=end_with_parent)
watcher.daemon = True
watcher.start()

from autobahntestsuite import wstest  # noqa: E402

wstest.run()
