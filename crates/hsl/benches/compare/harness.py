"""python3 harness.py LINE.py: warms up once, then prints the shortest of up to five runs, the
result, and how often it ran.
"""
import runpy
import sys
import time

sys.path.pop(0)  # json.py is no module
work = runpy.run_path(sys.argv[1])["work"]
check = work()
best = 1e6
begin = time.perf_counter()
for run in range(5):
    start = time.perf_counter()
    check = work()
    best = min(best, time.perf_counter() - start)
    if time.perf_counter() - begin > 4:
        break
print("%.6f %d %d" % (best, check, run + 2))
