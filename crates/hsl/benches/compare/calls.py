def add(a, b):
    return a + b


def pick(a, b):
    return b


def work():
    total = 0
    for i in range(1000000):
        total = add(total, pick(total, i))
    return total
