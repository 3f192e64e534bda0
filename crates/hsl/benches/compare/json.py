import json

records = []
for i in range(9000):
    records.append({
        "id": i,
        "sender": "user" + str(i) + "@example.com",
        "tags": ["inbound", "tls", "spf=pass"],
        "score": i // 4 if i % 4 == 0 else i / 4,
        "done": True,
    })


def work():
    text = json.dumps(records, separators=(",", ":"))
    back = json.loads(text)
    return len(text) + len(back)
