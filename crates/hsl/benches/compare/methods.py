class Counter:
    def __init__(self):
        self.count = 0

    def add(self, by):
        self.count += by

    def value(self):
        return self.count


def work():
    counter = Counter()
    total = 0
    for i in range(1000000):
        counter.add(1)
        total += counter.value()
    return total
