class Point:
    def __init__(self):
        self.x = 1
        self.y = 2
        self.z = 3


def work():
    point = Point()
    for i in range(1000000):
        point.y = point.x + point.z
        point.z = point.y - point.x
    return point.y + point.z
