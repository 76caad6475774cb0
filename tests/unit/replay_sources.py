"""CSV sources for replay tests, written as a user's files are."""

import csv
import io
import uuid

from services.common.event import COLUMNS


def transaction_id(number):
    return str(uuid.UUID(int=(number + 1) << 8 | 0x4000_8000_0000_0000_0000, version=4))


def row(number, **changes):
    cells = {
        "Transaction ID": transaction_id(number),
        "Timestamp": f"2026-01-14 10:{number // 60 % 60:02d}:{number % 60:02d}",
        "Sender Name": "Aarav Sharma",
        "Sender UPI ID": "aarav.sharma7@oksbi",
        "Receiver Name": 'Sharma & Sons, "The Sweet House"',
        "Receiver UPI ID": "sharmasweets@hdfcbank",
        "Amount (INR)": f"{number + 1}.50",
        "Status": "SUCCESS",
    }
    cells.update(changes)
    return cells


def text(rows, columns=COLUMNS):
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def write(path, count=5):
    path.write_text(text([row(number) for number in range(count)]), encoding="utf-8")
    return path
