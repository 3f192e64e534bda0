from functools import cmp_to_key


def work():
    values = []
    seed = 42
    for i in range(1000000):
        seed = (seed * 16807) % 2147483647
        values.append(seed)
    values.sort(key=cmp_to_key(lambda a, b: (a > b) - (a < b)))
    return values[0] + values[500000] + values[999999]
