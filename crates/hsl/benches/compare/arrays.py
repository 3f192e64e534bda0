def work():
    values = []
    for i in range(1000000):
        values.append(i)
    total = 0
    for i in range(0, 1000000, 2):
        total += values[i]
    for value in values:
        total += value
    table = {}
    for i in range(100000):
        table["key" + str(i)] = i
    for i in range(100000):
        table["key" + str(i)] += 1
    return total + table["key99999"] + len(table)
