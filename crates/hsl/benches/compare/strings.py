def work():
    text = ""
    for i in range(500000):
        line = "X-Line-" + str(i) + ": value " + str(i) + "\r\n"
        text += line
    return len(text)
