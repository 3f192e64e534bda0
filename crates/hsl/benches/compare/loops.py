def work():
    total = 0
    for i in range(1000):
        for j in range(3000):
            if j % 3 == 0:
                total += i
            else:
                total -= 1
    return total
